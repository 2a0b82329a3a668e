package journal

// EventMessage makes the message of an event without storing it.
var EventMessage = event
