package release

// Plain is the manifest as its exported fields say it.
func (m *Manifest) Plain() *Manifest {
	plain := *m
	plain.settings, plain.buses = nil, nil
	return &plain
}

// Update tells tests to rewrite the expected texts in testdata.
var Update = update
