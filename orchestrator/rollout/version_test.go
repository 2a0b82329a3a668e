package rollout_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/Masterminds/semver/v3"
	"pgregory.net/rapid"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// versionsInOrder are versions in their order; those on one line are at the same place.
var versionsInOrder = [][]string{
	{"", "1", "v1.0.0", "01.0.0", "1.0.0-01"}, // which are none
	{"0.0.0-0"},
	{"0.0.0"},
	{"0.0.2"},
	{"0.0.10"},
	{"0.9.0"},
	{"0.10.0-1"},
	{"0.10.0-2"},
	{"0.10.0-10"},
	{"0.10.0-18446744073709551616"},
	{"0.10.0-99999999999999999999.1"},
	{"0.10.0--1"},
	{"0.10.0-10a"},
	{"0.10.0-alpha"},
	{"0.10.0-alpha.1"},
	{"0.10.0-alpha.beta"},
	{"0.10.0-beta"},
	{"0.10.0", "0.10.0+1", "0.10.0+18446744073709551617.x-y"},
	{"1.0.9223372036854775808"},
	{"1.0.18446744073709551615"},
	{"1.0.18446744073709551616"},
	{"1.0.20251128084930123456"},
	{"1.0.20261128084930123456-rc.1"},
	{"1.0.20261128084930123456"},
	{"1.0.100000000000000000000"},
	{"1.100000000000000000000.0"},
	{"2.0.0"},
	{"99999999999999999999.0.0"},
}

func TestVersionsHaveAnOrder(t *testing.T) {
	for i, some := range versionsInOrder {
		for k, others := range versionsInOrder {
			want := max(-1, min(i-k, 1))
			for _, a := range some {
				for _, b := range others {
					if got := rollout.CompareVersions(a, b); got != want {
						t.Errorf("%q and %q: %d, want %d", a, b, got, want)
					}
				}
			}
		}
	}
}

// Where the numbers are small, the order is the one that others know.
func TestVersionsHaveTheOrderOfSemVer(t *testing.T) {
	number := rapid.SampledFrom([]string{"0", "1", "2", "9", "10", "99", "100"})
	part := rapid.SampledFrom([]string{"0", "1", "9", "10", "a", "b", "a1", "-", "rc", "0a", "A"})
	rapid.Check(t, func(t *rapid.T) {
		version := func(name string) string {
			v := fmt.Sprintf("%s.%s.%s", number.Draw(t, name), number.Draw(t, name), number.Draw(t, name))
			for i, p := range rapid.SliceOfN(part, 0, 3).Draw(t, name) {
				v += []string{"-", ".", "."}[i] + p
			}
			return v
		}
		a, b := version("a"), version("b")
		want := semver.MustParse(a).Compare(semver.MustParse(b))
		if got := rollout.CompareVersions(a, b); got != want {
			t.Fatalf("%s and %s: %d, want %d", a, b, got, want)
		}
	})
}

func TestVersionsCanBeSorted(t *testing.T) {
	versions := []string{"1.0.20261128084930123456", "1.0.2", "1.0.20251128084930123456", "1.0.0-rc.1"}
	slices.SortFunc(versions, rollout.CompareVersions)
	if want := []string{"1.0.0-rc.1", "1.0.2", "1.0.20251128084930123456", "1.0.20261128084930123456"}; !slices.Equal(versions, want) {
		t.Errorf("got %q", versions)
	}
}
