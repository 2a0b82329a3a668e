package report

import "github.com/golive-dev/golive/orchestrator/rollout"

// TellSource says from which commit a release was taken.
func TellSource(s rollout.Source) string {
	short := s.Commit
	if len(short) > 12 {
		short = short[:12]
	}
	text := "commit " + short
	if s.Describe != "" && s.Describe != short {
		text += " (" + s.Describe + ")"
	}
	if s.Folder != "" {
		text += ", folder " + s.Folder
	}
	if s.Remote != "" {
		text += " of " + s.Remote
	}
	if s.Dirty {
		text += ", with changes that are not committed"
	}
	return text
}
