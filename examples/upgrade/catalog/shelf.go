package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay"
)

const bucketName = "articles"

// article is one as it is stored: with a price, or with cents.
type article struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Price string `json:"price,omitempty"` // of 1.0.0: 12.50 EUR
	Cents int    `json:"cents,omitempty"` // of 2.0.0
}

// samples are in a new shop.
func samples() []article {
	return []article{
		{ID: "tea", Name: "Tea", Price: "12.50 EUR"},
		{ID: "teapot", Name: "Teapot", Price: "49.00 EUR"},
		{ID: "cup", Name: "Cup", Price: "7.05 EUR"},
	}
}

// shelf is the bucket of all articles, by id.
type shelf struct{ bucket jetstream.KeyValue }

// openShelf finds the bucket, or makes it where the shop runs for the first time.
func openShelf(ctx context.Context, nc *nats.Conn) (*shelf, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	bucket, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucketName})
	if errors.Is(err, jetstream.ErrBucketExists) {
		bucket, err = js.KeyValue(ctx, bucketName)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucketName, err)
	}
	s := &shelf{bucket}
	there, err := s.stored(ctx, struct{}{})
	if err != nil || len(there) > 0 {
		return s, err
	}
	for _, a := range samples() {
		data, err := json.Marshal(a)
		if err != nil {
			return nil, err
		}
		if _, err := bucket.Create(ctx, a.ID, data); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
			return nil, fmt.Errorf("store article %s: %w", a.ID, err)
		}
	}
	return s, nil
}

// stored are all articles as they are stored, by name.
func (s *shelf) stored(ctx context.Context, _ struct{}) ([]article, error) {
	keys, err := s.bucket.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read articles: %w", err)
	}
	articles := []article{}
	for id := range keys.Keys() {
		entry, err := s.bucket.Get(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("read article %s: %w", id, err)
		}
		var a article
		if err := json.Unmarshal(entry.Value(), &a); err != nil {
			return nil, fmt.Errorf("read article %s: %w", id, err)
		}
		articles = append(articles, a)
	}
	slices.SortFunc(articles, func(a, b article) int { return cmp.Compare(a.Name, b.Name) })
	return articles, nil
}

// store stores an article as it is, in the place of the one with its id.
func (s *shelf) store(ctx context.Context, a article) (struct{}, error) {
	if a.ID == "" || a.Name == "" {
		return struct{}{}, &relay.Error{Code: relay.CodeBadRequest, Message: "an article needs an id and a name"}
	}
	data, err := json.Marshal(a)
	if err != nil {
		return struct{}{}, err
	}
	if _, err := s.bucket.Put(ctx, a.ID, data); err != nil {
		return struct{}{}, fmt.Errorf("store article %s: %w", a.ID, err)
	}
	return struct{}{}, nil
}

// priced is the list of 1.0.0.
func (s *shelf) priced(ctx context.Context, _ struct{}) ([]article, error) {
	return s.list(ctx, func(a article) bool { return a.Price != "" }, "price: it was converted for a later version")
}

// inCents is the list of 2.0.0.
func (s *shelf) inCents(ctx context.Context, _ struct{}) ([]article, error) {
	return s.list(ctx, func(a article) bool { return a.Cents != 0 }, "cents: it has not been converted")
}

func (s *shelf) list(ctx context.Context, readable func(article) bool, lacks string) ([]article, error) {
	articles, err := s.stored(ctx, struct{}{})
	if err != nil {
		return nil, err
	}
	for _, a := range articles {
		if !readable(a) {
			return nil, &relay.Error{Code: relay.CodeFailed, Message: fmt.Sprintf("article %s has no %s", a.ID, lacks)}
		}
	}
	return articles, nil
}
