package report

// Failure is an error as a person sees it.
type Failure struct {
	Code    string // one of the codes of errors, as README.md of the command line has them
	Message string // what has happened, in one line or several
	Hint    string // what to do next, a line for each way; empty: not known
}

// Error is the message.
func (f *Failure) Error() string { return f.Message }

// Codes of failures that are no errors of the API.
const (
	CodeFailed = "failed"
	CodeGaveUp = "gave_up"
	CodeNoBus  = "no_bus"
)
