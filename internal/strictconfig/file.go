package strictconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// MaxFile bounds the file, in bytes.
	MaxFile = 1 << 20
	// maxNesting bounds how deep collections nest. No setting needs a tenth of
	// it, and the parser is recursive.
	maxNesting = 64
)

// Read returns the text of the file at path. Its error is of type [Errors].
func Read(path string) ([]byte, error) {
	text, err := readAll(path)
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, Errors{{Source: path, Reason: "there is no such file; name it with --config"}}
	case errors.As(err, &pathErr):
		return nil, Errors{{Source: path, Reason: fmt.Sprintf("can't be read: %v", pathErr.Err)}}
	case err != nil:
		return nil, Errors{{Source: path, Reason: fmt.Sprintf("can't be read: %v", err)}}
	case len(text) > MaxFile:
		return nil, Errors{{Source: path, Reason: fmt.Sprintf("is larger than %d bytes", MaxFile)}}
	}
	return text, nil
}

func readAll(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxFile+1))
}

// ParseYAML returns the one document of the file, nil if it is empty or wrong.
func (d *Decoder) ParseYAML(text []byte) (root ast.Node) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if line, ok := badText(text); !ok {
		d.fail(line, "", "holds bytes that are not UTF-8 text; save the file as UTF-8")
		return nil
	}
	defer func() {
		if recover() != nil { // a fault of the parser, on a file no one would write
			d.fail(1, "", "is not YAML that can be parsed")
			root = nil
		}
	}()
	tokens := joinScalars(lexer.Tokenize(string(text)))
	if line := tooDeep(tokens); line > 0 {
		d.fail(line, "", "collections nest more than %d deep", maxNesting)
		return nil
	}
	parsed, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // they are found with their path
	if err != nil {
		d.failSyntax(err)
		return nil
	}
	return d.document(parsed)
}

// document returns the body of the only document.
func (d *Decoder) document(parsed *ast.File) ast.Node {
	var body ast.Node
	for _, doc := range parsed.Docs {
		if _, directive := doc.Body.(*ast.DirectiveNode); directive || doc.Body == nil {
			continue
		}
		if body != nil {
			d.fail(lineOf(doc.Body), "", "a second document begins; keep one")
			return nil
		}
		body = doc.Body
	}
	return body
}

func (d *Decoder) failSyntax(err error) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		d.fail(1, "", "is not YAML: %v", err)
		return
	}
	line := 1
	if t := syntax.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	d.fail(line, "", "is not YAML: %s; check the indentation and the quotes from here upwards", syntax.GetMessage())
}

// badText returns the line of what is not text: invalid UTF-8 or NUL.
func badText(text []byte) (line int, ok bool) {
	line = 1
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == 0 || r == utf8.RuneError && size == 1 {
			return line, false
		}
		if r == '\n' {
			line++
		}
		text = text[size:]
	}
	return 0, true
}

// tooDeep returns the line where collections nest too deep: brackets in
// brackets, or many entries begun on one line. Nesting by indentation is
// bounded by the size of the file.
func tooDeep(tokens token.Tokens) int {
	brackets, begun, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			begun, line = 0, t.Position.Line
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			brackets++
		case token.MappingEndType, token.SequenceEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			begun++
		default:
		}
		if brackets > maxNesting || begun > maxNesting {
			return line
		}
	}
	return 0
}

func lineOf(n ast.Node) int {
	if n == nil {
		return 1
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 1
}
