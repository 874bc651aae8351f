package codec

import (
	"encoding/base64"
	"math/rand/v2"
	"testing"
)

func TestBase64IsWhatThePackageOfThatNameMakesAndReads(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for range 20000 {
		b := make([]byte, r.IntN(70))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		want := base64.StdEncoding.EncodeToString(b)
		if got := string(encodeBase64([]byte("x"), b)); got != "x"+want {
			t.Fatalf("%x: %s, want %s", b, got, want)
		}
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			got, ok := decodeBase64(nil, unpadded([]byte(enc.EncodeToString(b))))
			if !ok || string(got) != string(b) {
				t.Fatalf("%s: %x, %v, want %x", enc.EncodeToString(b), got, ok, b)
			}
		}
	}
}
