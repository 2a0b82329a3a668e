package protocol

// ClockSubject is where orchestrators tell each other that their clocks differ from the bus's.
// Not durable.
const ClockSubject = "golive.clock"

// HeaderTime is the time of the bus when an answer of the API was given, in RFC 3339: by it a
// caller whose own clock is another can tell how long ago things have happened.
const HeaderTime = "Golive-Time"
