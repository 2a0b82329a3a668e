package release

// Plain is the manifest as its exported fields say it.
func (m *Manifest) Plain() *Manifest {
	plain := *m
	plain.settings, plain.buses = nil, nil
	return &plain
}

// Update tells tests to rewrite the expected texts in testdata.
var Update = update

// ParseBeside is what Load makes of a manifest and of one file of an environment beside it.
func ParseBeside(manifest, environment string) (*Manifest, error) {
	return parse("golive.yaml", []byte(manifest), []file{{"golive.beside.yaml", "beside", []byte(environment)}}, "")
}
