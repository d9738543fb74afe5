// Package command contains the code that the commands of infra share: it parses arguments, handles
// signals, and finds a running installation.
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

// Main calls run with the arguments and returns its exit code. The first Ctrl-C, SIGTERM, or SIGHUP (the
// terminal was closed) cancels the context; a second one ends the process at once. SIGHUP remains ignored
// if the command was started with nohup.
func Main(run func(ctx context.Context, args []string) (code int)) (code int) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...) // the context of the whole process
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:])
}

// Exit writes the error of a command to stderr, and returns the exit code: 0 without an error, else 1.
func Exit(name string, err error) (code int) {
	if err == nil || errors.Is(err, ErrHelp) {
		return 0
	}
	fmt.Fprintln(os.Stderr, name+":", err)
	return 1
}

// ErrHelp means that the arguments requested help, which Parse has written.
var ErrHelp = errors.New("help requested")

// Parse parses the arguments of a command into grammar, a pointer to a struct with kong's tags. Flags may
// be anywhere among the arguments, with one dash or two. Help is written to the parameter help.
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
	if err != nil {
		return nil, err
	}
	return parsed, checkValues(parsed)
}

// checkValues refuses a flag whose value is an empty text. Otherwise a script with an unset variable would affect more
// than intended: `dead replay -all -consumer $CONSUMER` would replay every dead letter.
func checkValues(parsed *kong.Context) error {
	for _, p := range parsed.Path {
		if p.Flag == nil {
			continue
		}
		if text, ok := parsed.FlagValue(p.Flag).(string); ok && text == "" {
			return fmt.Errorf("-%s needs a value", p.Flag.Name)
		}
	}
	return nil
}

// oneDash matches a flag with one dash, except -h, which kong accepts as it is.
var oneDash = regexp.MustCompile(`^-([a-zA-Z][\w-]+|[a-gi-zA-Z])(=|$)`)

// arrange puts arguments into the order that kong reads: the command, flags with two dashes, and then
// the other arguments. It does not change the arguments of a passthrough command.
func arrange(node *kong.Node, args []string) []string {
	flags, rest := leadingFlags(node, args)
	if len(rest) > 0 {
		for _, c := range node.Children {
			if c.Name == rest[0] && !c.Passthrough {
				return append(rest[:1:1], arrange(c, slices.Concat(flags, rest[1:]))...)
			} else if c.Name == rest[0] {
				return slices.Concat(flags, rest)
			}
		}
	}
	var others []string
	for len(rest) > 0 && rest[0] != "--" {
		var more []string
		others = append(others, rest[0])
		more, rest = leadingFlags(node, rest[1:])
		flags = append(flags, more...)
	}
	if len(rest) > 0 {
		return slices.Concat(flags, rest[:1], others, rest[1:])
	}
	return append(flags, others...)
}

// leadingFlags splits args before the first argument that is neither a flag nor the value of a flag.
// It writes flags with two dashes.
func leadingFlags(node *kong.Node, args []string) (flags, rest []string) {
	for len(args) > 0 && args[0] != "--" && len(args[0]) > 1 && args[0][0] == '-' {
		arg := args[0]
		if oneDash.MatchString(arg) {
			arg = "-" + arg
		}
		n := 1
		if len(args) > 1 && takesValue(node, arg) {
			n = 2
		}
		flags = append(append(flags, arg), args[1:n]...)
		args = args[n:]
	}
	return flags, args
}

// takesValue reports whether arg is a flag whose value is the next argument.
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
