// Package buildinfo tells which build a process is.
package buildinfo

import "runtime/debug"

// Version is the module's version or the commit that the build was made from;
// "devel" where the build does not say.
func Version() string {
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
