module sori.internal/infra/analyzer/decoder

go 1.26.0

require (
	codeberg.org/gruf/go-ffmpreg v0.6.22
	github.com/tetratelabs/wazero v1.12.0
	sori.internal/shared v0.0.0
)

require golang.org/x/sys v0.49.0 // indirect

replace sori.internal/shared => ../../../shared
