//go:build tools

package tools_test

import (
	"testing"

	"github.com/chromedp/chromedp"

	"sori.internal/infra/internal/harness/harnesstest"
)

// microphones is a script that delays every permission to use the microphone until allow is called, and
// collects the streams of the microphone.
const microphones = `{
  window.streams = [];
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  let wait = new Promise(allow => { window.allow = () => allow(); });
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    await wait;
    const stream = await real(wanted);
    window.streams.push(stream);
    return stream;
  };
}`

const listening = `window.streams.filter(stream => stream.getTracks().some(track => track.readyState === 'live')).length`

func TestTheMicrophoneListensOnlyWhileThePageShowsIt(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	record := `[...document.querySelectorAll('button')].find(el => el.textContent.trim() === 'Record')`

	// Two clicks begin one recording.
	v := arrive(t, w.Gateway)
	v.sees(record)
	v.do(chromedp.Evaluate[chromedp.Void](microphones), chromedp.Evaluate[chromedp.Void](record+`.click()`), chromedp.Evaluate[chromedp.Void](record+`.click(); allow()`))
	v.sees(`document.querySelector('[role=timer]') && window.streams.length === 2 && ` + listening + ` === 1`)
	v.presses("Stop recording")
	v.reads("Ready to analyse")
	v.sees(listening + ` === 0`)

	// A microphone that is unplugged ends the recording, which is kept.
	v.presses("Use another recording")
	v.sees(record)
	v.do(chromedp.Evaluate[chromedp.Void](microphones), chromedp.Evaluate[chromedp.Void](record+`.click(); allow()`))
	v.sees(`document.querySelector('[role=timer]') && window.streams.length > 0`)
	v.do(chromedp.Evaluate[chromedp.Void](`window.streams[0].getTracks()[0].dispatchEvent(new Event('ended'))`))
	v.reads("The microphone was disconnected.")
	v.reads("Ready to analyse")
	v.sees(listening + ` === 0`)

	// A user who has left the page, or has chosen a file, is not recorded any more.
	v.presses("Use another recording")
	v.sees(record)
	v.do(chromedp.Evaluate[chromedp.Void](microphones), chromedp.Evaluate[chromedp.Void](record+`.click()`), chromedp.Evaluate[chromedp.Void](`location.hash = '#/jobs'`))
	v.reads("No jobs yet.")
	v.do(chromedp.Evaluate[chromedp.Void](`allow()`))
	v.sees(`window.streams.length > 0 && ` + listening + ` === 0`)
	v.do(chromedp.Evaluate[chromedp.Void](`location.hash = '#/'`))
	v.sees(record)
	v.do(chromedp.Evaluate[chromedp.Void](microphones), chromedp.Evaluate[chromedp.Void](record+`.click()`))
	v.gives(speechFile(t))
	v.do(chromedp.Evaluate[chromedp.Void](`allow()`))
	v.sees(`window.streams.length > 0 && ` + listening + ` === 0`)
	v.reads("speech.flac")

	// If recording cannot begin, nothing of it is left.
	v.presses("Use another recording")
	v.sees(record)
	v.do(chromedp.Evaluate[chromedp.Void](microphones), chromedp.Evaluate[chromedp.Void](contexts), chromedp.Evaluate[chromedp.Void](`AudioWorklet.prototype.addModule = () => Promise.reject(new Error('gone'))`), chromedp.Evaluate[chromedp.Void](record+`.click(); allow()`))
	v.reads("The microphone could not be started.")
	v.sees(listening + ` === 0 && contexts.length === 1 && contexts[0].state === 'closed'`)
}

// contexts is a script that collects the audio contexts of the page.
const contexts = `{
  window.contexts = [];
  window.AudioContext = class extends AudioContext { constructor() { super(); window.contexts.push(this); } };
}`

func TestARecordingGoesOnOnAPhoneThatIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t)})
	v := arrive(t, w.Gateway)
	v.do(chromedp.Evaluate[chromedp.Void](contexts), chromedp.Evaluate[chromedp.Void](`{
		window.lit = 0;
		Object.defineProperty(navigator, 'wakeLock', {value: {request: async () => (lit++, {release: async () => lit--})}});
	}`))
	v.presses("Record")
	v.sees(`document.querySelector('[role=timer]')?.textContent >= '0:00.2' && lit === 1`) // the screen does not go dark

	// A call stops the sound. The recording goes on when the user is back.
	v.do(chromedp.Evaluate[chromedp.Void](`contexts[0].suspend()`))
	v.sees(`contexts[0].state === 'suspended'`)
	v.do(chromedp.Evaluate[chromedp.Void](`document.dispatchEvent(new Event('visibilitychange'))`))
	v.sees(`contexts[0].state === 'running'`)
	v.do(chromedp.Evaluate[chromedp.Void](`contexts[0].suspend()`))
	v.presses("Stop recording") // what was recorded is there without the sound, too
	v.reads("Ready to analyse")
	v.sees(`lit === 0`)
}
