// Package raised searches the source code for the failures that the services report: their codes,
// kinds and sentences. Tests compare the failures with the documents and the translations.
package raised

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"sori.internal/shared/fault"
)

// Failure is a failure that the source code creates.
type Failure struct {
	Code   string
	Kind   fault.Kind
	Detail string // empty if it is composed at run time
	Place  string
}

// ForOperators lists the codes that no response to an HTTP client contains, so that they need no
// Korean sentence of a problem. Dead letters, logs and the operator's terminal are in English; for
// the codes with which a job fails, package locale has separate sentences.
func ForOperators() []string {
	return []string{
		"consumer-away", "letter-not-found", "object-not-found", "replay-unanswered", "stream-not-found",
		"unexpected-event", "unreadable-event", "copies-in-hand", "fetches-in-hand", "sequence-invalid", "event-gone", "overtaken",
		"analysis-full", "analysis-rejected", "analysis-resting", "analysis-running", "analysis-unavailable",
		"recording-unknown", "result-lost", "result-malformed",
	}
}

// Failures parses the Go files in the folders and their subfolders, except tests. It returns the
// failures that they create with a constant code: by a call of fault.New or fault.Wrap, as a literal
// of fault.Error, or by a function of the same package that passes one of its parameters on as the
// sentence.
func Failures(folders ...string) ([]Failure, error) {
	var found []Failure
	for _, root := range folders {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() {
				return err
			}
			here, err := inPackage(path)
			found = append(found, here...)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read the source: %w", err)
		}
	}
	return found, nil
}

// source is the source code of a package.
type source struct {
	set       *token.FileSet
	constants map[string]string
	passing   map[string]passing
}

// passing is the failure that a function creates, and the index of the parameter that is its
// sentence.
type passing struct {
	failure Failure
	detail  int
}

func inPackage(folder string) ([]Failure, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	s := source{set: token.NewFileSet(), constants: map[string]string{}, passing: map[string]passing{}}
	var parsed []*ast.File
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(s.set, path, nil, 0)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", path, err)
		}
		parsed = append(parsed, file)
		s.addConstants(file)
	}
	for _, file := range parsed {
		s.addPassing(file)
	}
	var found []Failure
	for _, file := range parsed {
		ast.Inspect(file, func(n ast.Node) bool {
			if f, ok := s.failure(n); ok {
				f.Place = s.set.Position(n.Pos()).String()
				found = append(found, f)
			}
			return true
		})
	}
	return found, nil
}

// addConstants collects the values of string constants by their names.
func (s source) addConstants(file *ast.File) {
	for _, d := range file.Decls {
		general, ok := d.(*ast.GenDecl)
		if !ok || general.Tok != token.CONST {
			continue
		}
		for _, spec := range general.Specs {
			values := spec.(*ast.ValueSpec)
			for i, value := range values.Values {
				if text, ok := s.text(value); ok {
					s.constants[values.Names[i].Name] = text
				}
			}
		}
	}
}

// addPassing collects the functions that pass one of their parameters on as the sentence of a
// failure.
func (s source) addPassing(file *ast.File) {
	for _, d := range file.Decls {
		function, ok := d.(*ast.FuncDecl)
		if !ok || function.Recv != nil || function.Body == nil {
			continue
		}
		index := map[string]int{}
		for _, field := range function.Type.Params.List {
			for _, name := range field.Names {
				index[name.Name] = len(index)
			}
		}
		ast.Inspect(function.Body, func(n ast.Node) bool {
			f, ok := s.failure(n)
			if name, isName := detailOf(n).(*ast.Ident); ok && isName {
				if i, isParameter := index[name.Name]; isParameter {
					s.passing[function.Name.Name] = passing{f, i}
				}
			}
			return true
		})
	}
}

// detailOf returns the expression of the sentence of a failure, or nil if n creates no failure.
func detailOf(n ast.Node) ast.Expr {
	switch n := n.(type) {
	case *ast.CallExpr:
		if name := nameOf(n.Fun); (name == "New" || name == "Wrap") && len(n.Args) >= 3 {
			return n.Args[2]
		}
	case *ast.CompositeLit:
		for _, e := range n.Elts {
			if field, ok := e.(*ast.KeyValueExpr); ok {
				if key, ok := field.Key.(*ast.Ident); ok && key.Name == "Detail" {
					return field.Value
				}
			}
		}
	}
	return nil
}

// text returns the value of a string literal, of a named string constant or of a sum of the two, and
// false for any other expression.
func (s source) text(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.Ident:
		text, ok := s.constants[e.Name]
		return text, ok
	case *ast.BinaryExpr:
		left, ok := s.text(e.X)
		right, both := s.text(e.Y)
		if e.Op != token.ADD || !ok || !both {
			return "", false
		}
		return left + right, true
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	default:
		return "", false
	}
}

// nameOf returns the name of a member of package fault. Package fault itself uses its names without
// a qualifier.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if pkg, ok := e.X.(*ast.Ident); ok && pkg.Name == "fault" {
			return e.Sel.Name
		}
	}
	return ""
}

// kindOf returns the fault.Kind that an expression names, or false if the expression names no kind.
func kindOf(e ast.Expr) (fault.Kind, bool) {
	name := nameOf(e)
	for _, k := range fault.Kinds() {
		if strings.EqualFold(name, strings.ReplaceAll(k.String(), "_", "")) {
			return k, true
		}
	}
	return fault.Internal, false
}

// constructors returns, by name, the failures of those functions of package fault whose first
// argument is the detail of the failure.
func constructors() map[string]Failure {
	return map[string]Failure{
		"MalformedRequest": {Code: "malformed-request", Kind: fault.Malformed},
		"MalformedJSON":    {Code: "malformed-json", Kind: fault.Malformed},
	}
}

// call reads a call that creates a failure.
func (s source) call(n *ast.CallExpr) (f Failure, ok bool) {
	name := nameOf(n.Fun)
	if function, isName := n.Fun.(*ast.Ident); isName {
		if p, known := s.passing[function.Name]; known && p.detail < len(n.Args) {
			f = p.failure
			f.Detail, ok = s.text(n.Args[p.detail])
			return f, ok
		}
	}
	if f, ok = constructors()[name]; ok {
		f.Detail, ok = s.text(n.Args[0])
		return f, ok
	}
	if name != "New" && name != "Wrap" || len(n.Args) < 3 {
		return f, false
	}
	var constant bool
	f.Kind, ok = kindOf(n.Args[0])
	f.Code, constant = s.text(n.Args[1])
	f.Detail, _ = s.text(n.Args[2])
	if _, qualified := n.Fun.(*ast.SelectorExpr); !qualified && f.Detail == "" {
		return f, false // a constructor of package fault: its callers pass the sentence
	}
	return f, ok && constant
}

// failure reads a call that creates a failure, or a composite literal of fault.Error.
func (s source) failure(n ast.Node) (f Failure, ok bool) {
	switch n := n.(type) {
	case *ast.CallExpr:
		return s.call(n)
	case *ast.CompositeLit:
		if nameOf(n.Type) != "Error" {
			return f, false
		}
		for _, e := range n.Elts {
			field, isField := e.(*ast.KeyValueExpr)
			if !isField {
				continue
			}
			switch field.Key.(*ast.Ident).Name {
			case "Kind":
				f.Kind, _ = kindOf(field.Value)
			case "Code":
				f.Code, ok = s.text(field.Value)
			case "Detail":
				f.Detail, _ = s.text(field.Value)
			}
		}
	}
	return f, ok
}
