package api

import "time"

// Observation is what has been observed of a running attempt. It is kept in memory only.
type Observation struct {
	Sent    bool      `json:"sent,omitempty"`    // its start has reached somebody
	Beat    time.Time `json:"beat,omitzero"`     // the last sign of life
	Done    int64     `json:"done,omitempty"`    // of its progress
	Total   int64     `json:"total,omitempty"`   // of its progress; 0: not known
	Note    string    `json:"note,omitempty"`    // of its progress
	Waiting string    `json:"waiting,omitempty"` // what it waits for

	Rate     float64 `json:"rate,omitempty"`     // of its progress: records a second now
	Average  float64 `json:"average,omitempty"`  // of its progress: records a second of this attempt
	Limit    float64 `json:"limit,omitempty"`    // of its progress: records a second that it keeps to; 0: none
	Held     string  `json:"held,omitempty"`     // of its progress: why it does not go on, or not as fast as it could
	PutAside int64   `json:"putAside,omitempty"` // of its progress: records that could not be dealt with
}

// Notice is what orchestrators tell each other and watchers about a running attempt.
type Notice struct {
	From    string `json:"from"` // which orchestrator
	Rollout string `json:"rollout"`
	Step    string `json:"step"`
	Attempt int    `json:"attempt"`
	Sent    bool   `json:"sent,omitempty"`
	Waiting string `json:"waiting,omitempty"`

	Server     string `json:"server,omitempty"`     // id of the server whose connection has got the start; empty: not known
	Connection uint64 `json:"connection,omitempty"` // that has got the start, on that server
}
