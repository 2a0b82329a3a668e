// Package protocol holds the words of the wire: names, subjects, headers and
// payloads of golive's protocol, version 1. What they mean, and who has to do what, stands in
// README.md beside this file: that is the contract, for every language.
//
// Every subject is made here, by a method on typed parts, and nowhere else; a
// subject is never taken apart again, because a name and a pre-release may both
// hold hyphens. Whoever needs the parts reads them from headers or payload.
//
// The package imports the standard library only, performs no I/O and is safe for
// concurrent use: all its types are plain values.
package protocol
