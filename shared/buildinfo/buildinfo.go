// Package buildinfo returns the version of the running program.
package buildinfo

import "runtime/debug"

// version is set by builds outside of a repository:
// -ldflags "-X sori.internal/shared/buildinfo.version=…".
var version string //nolint:gochecknoglobals // only the linker writes it

// Version returns the version that was set at build time; if none was, the commit or the version of
// the main module; if neither is known, "devel".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "devel"
}
