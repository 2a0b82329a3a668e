// Package release reads golive.yaml, the manifest that says of which service
// versions an app version consists and what has to run when it goes live.
//
// A [Manifest] that [Load] or [Parse] returns is valid through and through: names,
// versions, phases, dependencies, limits. What is not valid comes back as [Errors],
// all mistakes of the file at once, each with line, column, key and what is allowed.
// No input, however odd, makes it panic or take long.
//
// What is different in an environment stands in the manifest, too, or in a file beside it:
// [LoadFor] reads the manifest as it is there, and [Manifest.Settings] tells which value
// comes from where.
//
// It never runs a command, never looks whether a program exists, and reads no file
// but the manifest and those of environments beside it.
package release

// FileName is how the manifest is called in its folder.
const FileName = "golive.yaml"
