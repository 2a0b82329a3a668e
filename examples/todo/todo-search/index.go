package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/custom"
	"github.com/blevesearch/bleve/v2/analysis/lang/en"
	"github.com/blevesearch/bleve/v2/analysis/token/lowercase"
	"github.com/blevesearch/bleve/v2/analysis/tokenizer/unicode"
	"github.com/blevesearch/bleve/v2/mapping"
	"github.com/blevesearch/bleve/v2/search/query"

	"github.com/golive-dev/golive/relay"
)

const (
	maxResults = 50
	maxQuery   = 200 // characters
)

// Every title is indexed twice.
const (
	stems = "title" // in English: "buying" finds "buy", words like "the" do not count
	words = "words" // as they were written: "mil" finds "milk"
)

// document is a todo as the index knows it.
type document struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// index is a full-text index on disk. It is safe for concurrent use.
type index struct{ bleve bleve.Index }

// openIndex opens the index in the folder, or makes it where there is none. Only one
// process at a time can have it open.
func openIndex(folder string) (*index, error) {
	opened, err := bleve.OpenUsing(folder, map[string]any{"bolt_timeout": "2s"})
	if errors.Is(err, bleve.ErrorIndexPathDoesNotExist) {
		opened, err = create(folder)
	}
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w: does another process have it open?", folder, err)
	}
	return &index{opened}, nil
}

func create(folder string) (bleve.Index, error) {
	m := bleve.NewIndexMapping()
	err := m.AddCustomAnalyzer(words, map[string]any{
		"type": custom.Name, "tokenizer": unicode.Name, "token_filters": []string{lowercase.Name},
	})
	if err != nil {
		return nil, err
	}
	m.DefaultMapping = bleve.NewDocumentStaticMapping()
	m.DefaultMapping.AddFieldMappingsAt("title", field(stems, en.AnalyzerName), field(words, words))
	return bleve.New(folder, m)
}

func field(name, analyzer string) *mapping.FieldMapping {
	f := bleve.NewTextFieldMapping()
	f.Name, f.Analyzer, f.IncludeInAll = name, analyzer, false
	return f
}

func (i *index) close() {
	_ = i.bleve.Close() // what was added is on disk already
}

// add makes a todo findable.
func (i *index) add(_ context.Context, d document) (struct{}, error) {
	if d.ID == "" || d.Title == "" {
		return struct{}{}, invalid("a todo to be found needs an id and a title")
	}
	if err := i.bleve.Index(d.ID, d); err != nil {
		return struct{}{}, fmt.Errorf("index todo %s: %w", d.ID, err)
	}
	return struct{}{}, nil
}

// maxDocuments is how many documents are taken, or looked for, in one message.
const maxDocuments = 1000

// addAll makes todos findable, all of them or none. Adding them again changes nothing.
func (i *index) addAll(_ context.Context, documents []document) (struct{}, error) {
	if n := len(documents); n < 1 || n > maxDocuments {
		return struct{}{}, invalid("%d todos are to be found: send from 1 to %d at a time", n, maxDocuments)
	}
	batch := i.bleve.NewBatch()
	for n, d := range documents {
		if d.ID == "" || d.Title == "" {
			return struct{}{}, invalid("todo %d: to be found it needs an id and a title", n+1)
		}
		if err := batch.Index(d.ID, d); err != nil {
			return struct{}{}, fmt.Errorf("index todo %s: %w", d.ID, err)
		}
	}
	if err := i.bleve.Batch(batch); err != nil {
		return struct{}{}, fmt.Errorf("index %d todos: %w", len(documents), err)
	}
	return struct{}{}, nil
}

// missing gives those of the ids that no todo here has.
func (i *index) missing(ctx context.Context, ids []string) ([]string, error) {
	if n := len(ids); n > maxDocuments {
		return nil, invalid("%d ids are looked for: send at most %d at a time", n, maxDocuments)
	}
	request := bleve.NewSearchRequestOptions(bleve.NewDocIDQuery(ids), len(ids), 0, false)
	found, err := i.bleve.SearchInContext(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("look for %d todos: %w", len(ids), err)
	}
	known := make(map[string]bool, len(ids))
	for _, hit := range found.Hits {
		known[hit.ID] = true
	}
	return slices.DeleteFunc(append([]string{}, ids...), func(id string) bool { return known[id] }), nil
}

// find gives the todos that the query describes, the best first.
func (i *index) find(ctx context.Context, in struct{ Query string }) ([]document, error) {
	if n := utf8.RuneCountInString(in.Query); n > maxQuery {
		return nil, invalid("query has %d characters: at most %d are allowed", n, maxQuery)
	}
	request := bleve.NewSearchRequestOptions(i.query(in.Query), maxResults, 0, false)
	request.Fields = []string{stems}
	request.SortBy([]string{"-_score", "_id"})
	found, err := i.bleve.SearchInContext(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("search for %q: %w", in.Query, err)
	}
	documents := []document{}
	for _, hit := range found.Hits {
		title, _ := hit.Fields[stems].(string)
		documents = append(documents, document{ID: hit.ID, Title: title})
	}
	return documents, nil
}

// query asks for titles with all the words of the text: either the words themselves,
// in whatever form English gives them, or words that begin like them.
func (i *index) query(text string) query.Query {
	same := bleve.NewMatchQuery(text)
	same.SetField(stems)
	same.SetOperator(query.MatchQueryOperatorAnd)
	begin := bleve.NewConjunctionQuery()
	for _, token := range i.bleve.Mapping().AnalyzerNamed(words).Analyze([]byte(text)) {
		word := bleve.NewPrefixQuery(string(token.Term))
		word.SetField(words)
		begin.AddQuery(word)
	}
	return bleve.NewDisjunctionQuery(same, begin)
}

func invalid(format string, a ...any) error {
	return &relay.Error{Code: relay.CodeBadRequest, Message: fmt.Sprintf(format, a...)}
}
