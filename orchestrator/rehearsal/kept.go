package rehearsal

import (
	"context"
	"io"

	"github.com/klauspost/compress/s2"

	"github.com/golive-dev/golive/orchestrator/snapshot"
)

// Kept is a part of the snapshot that is not in JetStream: whoever keeps it puts it back.
type Kept struct {
	Service string
	Part    snapshot.Part
	Open    func() (io.ReadCloser, error) // what was taken
}

// Kept lists the parts that [Copy.Fill] leaves out, since they are not in JetStream. Their archives
// were fetched before.
func (c *Copy) Kept(ctx context.Context) []Kept {
	var all []Kept
	for _, service := range c.Snapshot.Services {
		for _, p := range service.Parts {
			if !p.Kept() {
				continue
			}
			all = append(all, Kept{Service: service.Name, Part: p, Open: func() (io.ReadCloser, error) {
				r, err := c.Archives.Open(ctx, archive(service.Name, p))
				if err != nil {
					return nil, err
				}
				return unzipped{s2.NewReader(r), r}, nil
			}})
		}
	}
	return all
}

// unzipped is what was compressed.
type unzipped struct {
	io.Reader
	io.Closer
}
