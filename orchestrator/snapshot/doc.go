// Package snapshot takes, keeps, checks and puts back the data of an app's services: what lives in
// JetStream, and what a [Keeper] reaches.
//
// [Take] and [Put] are about one stream: its archive is what a server of 2.15 makes of it. A
// stream is cut at one moment, while others write to it. What was put back was read back and
// compared; what is partial is removed.
//
// A [Snapshot] is about the streams of all services of an app. It counts only once its manifest
// is there, and that is written last, when all else was read back whole. So a take that fails or
// dies leaves nothing that counts, and the next one removes what is left. Several streams are not
// cut at one moment: whether the snapshot is of one is found out from the sequences before and
// after, and said ([Moment]).
//
// Whatever the size of the data, it is never held in memory: archives pass through.
package snapshot
