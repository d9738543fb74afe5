package media_test

import (
	"fmt"
	"os"

	"sori.internal/shared/media"
)

func ExampleSniff() {
	recording, err := os.ReadFile("testdata/opus.webm")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(media.Sniff(recording[:min(len(recording), media.HeadSize)]))
	fmt.Println(media.Sniff([]byte("%PDF-1.7")))
	// Output:
	// audio/webm true
	//  false
}

// A Meter probes a recording while its bytes are copied elsewhere.
func ExampleMeter() {
	recording, err := os.ReadFile("testdata/pcm16.wav")
	if err != nil {
		fmt.Println(err)
		return
	}
	meter := media.NewMeter(int64(len(recording)))
	_, _ = meter.Write(recording) // Write reads all bytes and never fails
	info := meter.Info()
	fmt.Println(info.MediaType, info.Codec, info.SampleRate, info.Channels)
	fmt.Println(info.Duration, info.DurationKnown, info.Warnings)
	// Output:
	// audio/wav pcm_s16le 16000 1
	// 312.5ms true []
}
