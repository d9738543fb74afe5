package measure

import (
	"math"
	"math/bits"
)

// fft is an in-place radix-2 Fourier transform of a fixed size (J. W. Cooley and J. W. Tukey, "An algorithm for the
// machine calculation of complex Fourier series", Mathematics of Computation 19, 1965). It contains the tables for the
// size.
type fft struct {
	size    int
	twiddle []complex128
	reverse []int32
}

// newFFT prepares a transform of n points, rounded up to a power of two.
func newFFT(n int) *fft {
	size := 2
	for size < n {
		size *= 2
	}
	f := &fft{size: size, twiddle: make([]complex128, size/2), reverse: make([]int32, size)}
	for i := range f.twiddle {
		sin, cos := math.Sincos(-2 * math.Pi * float64(i) / float64(size))
		f.twiddle[i] = complex(cos, sin)
	}
	shift := 33 - bits.Len32(uint32(size)) // the conversion keeps the value: the size is small and positive
	for i := range f.reverse {
		f.reverse[i] = int32(bits.Reverse32(uint32(i)) >> shift) // less than size
	}
	return f
}

// transform replaces x by its forward transform. The length of x must be the size of f.
func (f *fft) transform(x []complex128) {
	for i, j := range f.reverse {
		if int32(i) < j { // less than size
			x[i], x[j] = x[j], x[i]
		}
	}
	for half := 1; half < f.size; half *= 2 {
		stride := f.size / (2 * half)
		for start := 0; start < f.size; start += 2 * half {
			low, high := x[start:start+half], x[start+half:start+2*half]
			for k, w := 0, 0; k < half; k, w = k+1, w+stride {
				t := high[k] * f.twiddle[w]
				high[k] = low[k] - t
				low[k] += t
			}
		}
	}
}
