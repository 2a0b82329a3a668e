// Package rehearsal makes a copy of an environment on this machine, on which a release can be
// tried: a folder of its own ([Make]), the archives of a snapshot in it ([Copy.Fetch]), and on an
// empty bus what was in the environment ([Copy.Fill]): the data, what has run, and the traffic.
//
// Reading needs the environment; what comes after that does not, and whoever fills a bus gives
// the connection to the environment up before. Programs of a rehearsal get the environment of
// [Environ], which holds nothing but what a program needs to run.
package rehearsal
