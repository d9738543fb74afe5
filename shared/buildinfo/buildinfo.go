// Package buildinfo returns the version of the running program.
package buildinfo

import "runtime/debug"

// version is told by builds that have no repository around them:
// -ldflags "-X sori.internal/shared/buildinfo.version=…".
var version string //nolint:gochecknoglobals // written by the linker alone

// Version is what the build was told, else the module's version or the commit
// that it was made from; "devel" where nothing says.
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
