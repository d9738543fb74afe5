package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"sori.internal/shared/decoding"
)

// serve answers the requests, one after the other. A separate goroutine reads the requests, and exits the process when
// they end, even while ffmpeg runs.
func serve(ctx context.Context, e *engine, requests io.Reader, answers io.Writer) error {
	w := &answer{frames: decoding.NewWriter(answers)}
	if err := w.send(decoding.TypeReady, nil); err != nil {
		return err
	}
	lines := make(chan string)
	go func() {
		scanner := bufio.NewScanner(requests)
		scanner.Buffer(nil, decoding.MaxRequest+1)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
		os.Exit(0) //nolint:revive // no client is left to answer, and ffmpeg cannot be interrupted
	}()
	for line := range lines {
		req, err := decoding.ParseRequest([]byte(line))
		if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		if err := w.decode(ctx, e, req); err != nil {
			return err
		}
	}
	return nil
}

// decode answers one request. If ffmpeg does not recognise the format of the file, ffmpeg runs again with the format in
// the request.
func (a *answer) decode(ctx context.Context, e *engine, req decoding.Request) error {
	stop := a.watch(ctx, time.Duration(req.CPUSeconds*float64(time.Second)))
	log := a.begin()
	exit, err := e.ffmpeg(ctx, req.Path, arguments(req, ""), a, log)
	if err == nil && log.container == "" && req.Format != "" {
		log = a.begin()
		exit, err = e.ffmpeg(ctx, req.Path, arguments(req, req.Format), a, log)
	}
	stop()
	return a.finish(req, exit, err)
}

// arguments returns the arguments of ffmpeg, which writes the first audio stream as a WAV file of 32-bit floats. The
// header of that file describes the samples. The whitelists keep ffmpeg from opening files that are not recordings, and
// from decoding pictures in a recording.
func arguments(req decoding.Request, format string) []string {
	args := []string{
		"-hide_banner", "-nostats", "-nostdin", "-loglevel", "repeat+level+info",
		"-format_whitelist", demuxers, "-codec_whitelist", decoders, "-protocol_whitelist", "file,pipe",
		"-guess_layout_max", "2", // ffmpeg may guess the speaker positions of two channels, but not of more
		"-vn", "-sn", "-dn", "-max_error_rate", "1",
	}
	if format != "" {
		args = append(args, "-f", format)
	}
	return append(args, "-i", inside, "-map", "0:a:0", "-map_metadata", "-1", "-bitexact",
		"-t", strconv.FormatFloat(req.MaxSeconds, 'f', 3, 64), "-c:a", "pcm_f32le", "-f", "wav", "pipe:1")
}

// demuxers is the list of the formats that ffmpeg may open.
const demuxers = "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,caf,dts,eac3,flac,gsm,loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2," +
	"mp3,mpc,mpc8,nut,ogg,tak,tta,voc,w64,wav,wv,avi,flv,mpegts,mpeg,nistsphere,sln"

// decoders is the list of the codecs that ffmpeg may decode.
const decoders = "aac,aac_latm,ac3,alac,amrnb,amrwb,ape,atrac1,atrac3,atrac3plus,cook,dca,eac3,flac,g722,g723_1,g726,g726le,g729," +
	"gsm,gsm_ms,ilbc,mace3,mace6,mlp,mp1,mp1float,mp2,mp2float,mp3,mp3float,mp3adu,mp3adufloat,mp3on4,mp3on4float,mpc7,mpc8," +
	"nellymoser,opus,libopus,qcelp,qdm2,qdmc,ralf,shorten,sipr,speex,tak,truehd,truespeech,tta,twinvq,vorbis,wavpack," +
	"wmalossless,wmapro,wmav1,wmav2,wmavoice," +
	"adpcm_adx,adpcm_ct,adpcm_g722,adpcm_g726,adpcm_g726le,adpcm_ima_apm,adpcm_ima_oki,adpcm_ima_qt,adpcm_ima_wav,adpcm_ima_ws," +
	"adpcm_ms,adpcm_sbpro_2,adpcm_sbpro_3,adpcm_sbpro_4,adpcm_swf,adpcm_yamaha," +
	"pcm_alaw,pcm_bluray,pcm_dvd,pcm_f16le,pcm_f24le,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16be_planar," +
	"pcm_s16le,pcm_s16le_planar,pcm_s24be,pcm_s24le,pcm_s24le_planar,pcm_s32be,pcm_s32le,pcm_s32le_planar,pcm_s64be,pcm_s64le," +
	"pcm_s8,pcm_s8_planar,pcm_u16be,pcm_u16le,pcm_u24be,pcm_u24le,pcm_u32be,pcm_u32le,pcm_u8,pcm_vidc"
