package release

import (
	"fmt"
	"strings"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// didYouMean is the hint for a word that is none of the valid ones, if it is at
// most two letters away from one of them.
func didYouMean(word string, valid []string) string {
	if nearest := rollout.Nearest(word, valid); nearest != "" {
		return fmt.Sprintf("did you mean %s?", bare(nearest))
	}
	return ""
}

// list is the valid words for a sentence, the first of them if they are many.
func list(valid []string) string {
	const most = 12
	if len(valid) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(bares(valid[:most]), ", "), len(valid)-most)
	}
	return strings.Join(bares(valid), ", ")
}
