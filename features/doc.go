// Package features says what a person can do with golive.
//
// Each .feature is one such thing: who wants it and why, and what that person then
// sees. The steps run the real binary, built once for each run of the tests, and
// nothing in here knows its code. The programs of the apps under test are played by
// the test binary itself; they report to the scenario, which tells them what to do.
// A scenario has folders, a bus, ports and programs of its own and leaves nothing
// behind, so any number run side by side.
//
// There is nothing in this package but its tests:
//
//	go test ./features
//	go test ./features -run TestFeatures/failure
//	go test ./features -update     rewrite testdata, to be read in review
package features
