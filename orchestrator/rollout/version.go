package rollout

import (
	"cmp"
	"slices"
	"strings"

	"github.com/golive-dev/golive/relay/protocol"
)

// CompareVersions tells how two versions stand to each other, as SemVer orders them: -1 when a
// comes before b, 1 when it comes behind, and 0 when neither does, as with those that differ in
// their build alone. Numbers may be of any size. What is no version comes before all that are.
func CompareVersions(a, b string) int {
	validA, validB := protocol.ValidateVersion(a) == nil, protocol.ValidateVersion(b) == nil
	switch {
	case !validA && !validB:
		return 0
	case !validA:
		return -1
	case !validB:
		return 1
	}
	coreA, preA := splitVersion(a)
	coreB, preB := splitVersion(b)
	if order := slices.CompareFunc(coreA, coreB, compareNumbers); order != 0 {
		return order
	}
	if len(preA) == 0 || len(preB) == 0 { // what is tried before a version comes before it
		return cmp.Compare(len(preB), len(preA))
	}
	return slices.CompareFunc(preA, preB, comparePart)
}

// splitVersion gives the three numbers of a version, and what marks it as one before that; its
// build, which has no say, is left out.
func splitVersion(version string) (core, pre []string) {
	version, _, _ = strings.Cut(version, "+")
	version, before, has := strings.Cut(version, "-")
	if has {
		pre = strings.Split(before, ".")
	}
	return strings.Split(version, "."), pre
}

// comparePart compares two parts of what marks versions as earlier ones: numbers come before
// words.
func comparePart(a, b string) int {
	numberA, numberB := isNumber(a), isNumber(b)
	switch {
	case numberA && numberB:
		return compareNumbers(a, b)
	case numberA:
		return -1
	case numberB:
		return 1
	}
	return strings.Compare(a, b)
}

// compareNumbers compares two numbers by their digits: without zeros in front, the longer one
// is the larger.
func compareNumbers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }
