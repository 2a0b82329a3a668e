package main

import (
	"context"
	"errors"
	"fmt"
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
	return &relay.Error{Code: "400", Message: fmt.Sprintf(format, a...)}
}
