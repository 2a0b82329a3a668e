package ledger

import "slices"

// Live lists the completed rollouts that were not taken backward since, oldest first.
func (b *Book) Live() []AppVersion {
	return slices.DeleteFunc(b.Versions(), func(v AppVersion) bool { return v.Void != "" })
}
