package upload

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAHeaderTakesTimeInProportionToItsLength(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, piece := range []string{";", "; ", `"`, `";`, `\"`, `";name`, `"; name=`, "=", " ", "*0", `filename*0="`, "%", "=?", "\xb0", "\x81"} {
		began := processorTime(t)
		value := `form-data; filename="` + strings.Repeat(piece, envelopeSize/len(piece))
		for range 2 {
			sentName(value, "")
			value = `form-data; filename=` + value[21:]
		}
		if took := processorTime(t) - began; took > time.Second {
			t.Errorf("%q: %v", piece, took)
		}
	}
}

// processorTime returns the processor time of this thread, which a busy machine does not lengthen.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_THREAD, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func TestAFileNameOfManyPiecesTakesTimeInProportionToTheirNumber(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, form := range []string{`; filename*%d=`, `; filename*%d*=a`} {
		var value strings.Builder
		value.WriteString("form-data; name=file")
		for i := 0; value.Len() < envelopeSize; i++ {
			fmt.Fprintf(&value, form, i)
		}
		const times = 50 // the system counts processor time in ticks of milliseconds
		began := processorTime(t)
		var d disposition
		for range times {
			d = parseDisposition(value.String())
		}
		parsed := processorTime(t)
		for range times {
			d.fileName("")
		}
		if took := processorTime(t) - parsed; took > 5*(parsed-began)+50*time.Millisecond {
			t.Errorf("%s: %v for %d names of headers that were parsed in %v", form, took, times, parsed-began)
		}
	}
}
