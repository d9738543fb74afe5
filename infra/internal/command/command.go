// Package command is what the commands of infra share: how they read their arguments, how they are
// stopped, and how they find a running Sori.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
)

// Main runs a command until it returns its exit code. The first Ctrl-C or SIGTERM ends its context, a
// second one ends the process at once.
func Main(run func(ctx context.Context, args []string) (code int)) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:])
}

// Exit writes why a command has failed, and returns its exit code.
func Exit(name string, err error) (code int) {
	if err == nil || errors.Is(err, ErrHelp) {
		return 0
	}
	fmt.Fprintln(os.Stderr, name+":", err)
	return 1
}

// ErrHelp says that a command was asked for its help, which Parse has written.
var ErrHelp = errors.New("help requested")

// Parse reads the arguments of a command into its grammar, a struct with kong's tags. Flags may stand
// anywhere, with one dash or with two. help gets the help.
func Parse(name string, grammar any, args []string, help io.Writer, options ...kong.Option) (*kong.Context, error) {
	helped := false
	options = append(options, kong.Name(name), kong.Writers(help, help), kong.Exit(func(int) { helped = true }),
		kong.WithHyphenPrefixedParameters(true), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	parser, err := kong.New(grammar, options...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	parsed, err := parser.Parse(arrange(parser.Model.Node, args))
	if helped {
		return nil, ErrHelp
	}
	return parsed, err
}

// oneDash matches a flag with one dash, but for -h, which kong knows.
var oneDash = regexp.MustCompile(`^-([a-zA-Z][\w-]+|[a-gi-zA-Z])(=|$)`)

// arrange puts arguments into the form that kong reads: the command, flags with two dashes, and then
// what is no flag. It leaves the arguments of a command that passes them through.
func arrange(node *kong.Node, args []string) []string {
	if len(args) > 0 {
		for _, c := range node.Children {
			if c.Name == args[0] && !c.Passthrough {
				return append(args[:1:1], arrange(c, args[1:])...)
			} else if c.Name == args[0] {
				return args
			}
		}
	}
	var flags, others []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if oneDash.MatchString(arg) {
			arg = "-" + arg
		}
		switch {
		case arg == "--":
			return slices.Concat(flags, []string{"--"}, others, args[i+1:])
		case len(arg) > 1 && arg[0] == '-':
			flags = append(flags, arg)
			if i+1 < len(args) && takesValue(node, arg) {
				i++
				flags = append(flags, args[i])
			}
		default:
			others = append(others, arg)
		}
	}
	return append(flags, others...)
}

// takesValue reports whether the argument after a flag is its value.
func takesValue(node *kong.Node, arg string) bool {
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			if "--"+f.Name == arg {
				return !f.IsBool()
			}
		}
	}
	return false
}
