package release

import "testing"

func TestDidYouMean(t *testing.T) {
	valid := []string{"version", "run", "setup", "online", "offline"}
	for word, want := range map[string]string{
		"version":   "did you mean version?",
		"Version":   "did you mean version?",
		"verison":   "did you mean version?", // two letters changed places
		"vrsion":    "did you mean version?",
		"versionss": "did you mean version?",
		"onlin":     "did you mean online?",
		"offlin":    "did you mean offline?",
		"ru":        "did you mean run?",
		"vers":      "",
		"r":         "did you mean run?",
		"x":         "",
		"":          "",
	} {
		if got := didYouMean(word, valid); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
