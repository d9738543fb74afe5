package decode

import (
	"context"
	"os/exec"
	"time"

	"sori.internal/infra/analyzer/internal/child"
)

// Settings limit a Decoder.
type Settings struct {
	Program    string                // path of the decoder program; if empty, it is built from its source
	Cache      string                // folder of the built and compiled decoder; if empty, sori/decoder in the user's cache folder
	Processes  int                   // largest number of decoder processes that work at the same time
	Memory     int64                 // largest memory for the decoding of one recording, in bytes
	MaxSeconds float64               // longest duration of a recording that is accepted
	Run        func(*exec.Cmd) error // starts a decoder process; if nil, the command's method Start is called
}

// idleTime is how long a process without a recording is kept. Starting a process takes half a second; an idle process
// needs 200 MB.
const idleTime = time.Minute

// Decoder decodes recordings in processes, each of which decodes one recording after the other. A Decoder is safe for
// concurrent use.
type Decoder struct {
	settings Settings
	program  *Program
	pool     *child.Pool[*worker]
}

// New returns a Decoder. It starts no process.
func New(settings Settings) *Decoder {
	d := &Decoder{settings: settings, program: NewProgram(settings.Program, settings.Cache)}
	d.pool = child.NewPool(settings.Processes, idleTime, d.launch)
	return d
}

// Prepare builds and compiles the decoder program if necessary, so that the first recording need not wait for the
// build.
func (d *Decoder) Prepare(ctx context.Context) error {
	_, err := d.program.Find(ctx)
	return err
}

// Close ends the idle processes. A process that is decoding ends when its stream is closed.
func (d *Decoder) Close() { d.pool.Close() }

func (d *Decoder) launch(ctx context.Context) (*worker, error) {
	found, err := d.program.Find(ctx)
	if err != nil {
		return nil, err
	}
	return launch(ctx, found, d.settings)
}
