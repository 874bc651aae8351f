package integration

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// raw sends a request whose answer nobody decompresses.
func raw(t testing.TB, method, url string, body io.Reader, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(soon(t), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := httpClient(t, false)
	client.Transport.(*http.Transport).DisableCompression = true
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// decoded reads an answer in whatever encoding it is.
func decoded(t testing.TB, answer *http.Response) io.Reader {
	t.Helper()
	switch answer.Header.Get("Content-Encoding") {
	case "gzip":
		r, err := gzip.NewReader(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r
	case "br":
		return brotli.NewReader(answer.Body)
	case "zstd":
		r, err := zstd.NewReader(answer.Body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	return answer.Body
}

func TestAnswersAreCompressedForWhoAsks(t *testing.T) {
	backend := testserver.Start(t)
	g := oneRoute(t, backend.Address, "", "")
	note := strings.Repeat("a note ", 1000)
	ask := func(t *testing.T, g *rig.Gateway, accept string) *http.Response {
		return raw(t, "POST", g.URL+"/bind/v1/all", strings.NewReader(`{"note":"`+note+`"}`), "Content-Type", "application/json", "Accept-Encoding", accept)
	}
	for accept, want := range map[string]string{
		"gzip": "gzip", "br": "br", "zstd": "zstd", "gzip, deflate, br, zstd": "zstd", "gzip;q=1, zstd;q=0.5": "gzip", "identity": "", "": "",
	} {
		answer := ask(t, g, accept)
		var got struct{ Note string }
		if err := json.NewDecoder(decoded(t, answer)).Decode(&got); err != nil || got.Note != note {
			t.Errorf("%q: %v, %d bytes", accept, err, len(got.Note))
		}
		if h := answer.Header; h.Get("Content-Encoding") != want || h.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v, want %q", accept, h, want)
		}
	}
	t.Run("errors too", func(t *testing.T) {
		answer := raw(t, "POST", g.URL+"/control/v1/fail", strings.NewReader(`{"code":3,"message":"`+note+`"}`), "Content-Type", "application/json", "Accept-Encoding", "gzip")
		text, err := io.ReadAll(decoded(t, answer))
		if err != nil || answer.Header.Get("Content-Encoding") != "gzip" || answer.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), note) {
			t.Errorf("%s, %v, %v", answer.Status, answer.Header, err)
		}
	})
	t.Run("but not small ones", func(t *testing.T) {
		if answer := raw(t, "GET", g.URL+"/bind/v1/one/x", nil, "Accept-Encoding", "gzip"); answer.Header.Get("Content-Encoding") != "" {
			t.Errorf("%v", answer.Header)
		}
	})
	t.Run("unless the route says so", func(t *testing.T) {
		g := oneRoute(t, backend.Address, "", "compression: {min_size: 0}")
		if answer := raw(t, "GET", g.URL+"/bind/v1/one/x", nil, "Accept-Encoding", "gzip"); answer.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%v", answer.Header)
		}
	})
	t.Run("and none where it says none", func(t *testing.T) {
		g := oneRoute(t, backend.Address, "", "compression: {encodings: [none]}")
		if answer := ask(t, g, "gzip"); answer.Header.Get("Content-Encoding") != "" || answer.Header.Get("Vary") != "" {
			t.Errorf("%v", answer.Header)
		}
	})
}

// A message of a compressed stream can be read before the next one is sent.
func TestACompressedStreamIsFlushedMessageByMessage(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "compression: {streams: always}")
	for _, encoding := range []string{"gzip", "br", "zstd"} {
		for _, accept := range []string{"application/x-ndjson", "text/event-stream"} {
			answer := raw(t, "GET", g.URL+"/stream/v1/count/2?interval=60s", nil, "Accept", accept, "Accept-Encoding", encoding)
			if got := answer.Header.Get("Content-Encoding"); got != encoding {
				t.Fatalf("Content-Encoding %q, want %q", got, encoding)
			}
			line, err := bufio.NewReader(decoded(t, answer)).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, `{"i":0`) && line != "id: 1\n" {
				t.Errorf("%s: %q, %v", encoding, line, err)
			}
			answer.Body.Close()
		}
		answer := raw(t, "GET", g.URL+"/stream/v1/count/3", nil, "Accept-Encoding", encoding, "Te", "trailers")
		text, err := io.ReadAll(decoded(t, answer))
		if want := "{\"i\":0,\"padding\":\"\"}\n{\"i\":1,\"padding\":\"\"}\n{\"i\":2,\"padding\":\"\"}\n"; err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", encoding, text, err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		if answer.Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("%s: trailers %v", encoding, answer.Trailer)
		}
	}
}

func zipped(t testing.TB, body string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRequestsMayComeInGzip(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "max_body_size: 64KiB")
	post := func(t *testing.T, path string, body []byte) (*http.Response, string) {
		answer := raw(t, "POST", g.URL+path, bytes.NewReader(body), "Content-Type", "application/json", "Content-Encoding", "gzip")
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer, string(text)
	}
	if answer, text := post(t, "/bind/v1/all", zipped(t, `{"name":"x"}`)); answer.StatusCode != http.StatusOK || !strings.Contains(text, `"name":"x"`) {
		t.Errorf("%s: %s", answer.Status, text)
	}
	if answer, text := post(t, "/stream/v1/sum", zipped(t, "{\"number\":1}\n{\"number\":41}\n")); answer.StatusCode != http.StatusOK || !strings.Contains(text, `"42"`) {
		t.Errorf("%s: %s", answer.Status, text)
	}
	if answer, text := post(t, "/stream/v1/talk", zipped(t, `{"text":"a"}`)); answer.StatusCode != http.StatusOK || !strings.Contains(text, `"a"`) {
		t.Errorf("%s: %s", answer.Status, text)
	}

	whole := zipped(t, `{"name":"x"}`)
	damaged := bytes.Clone(whole)
	damaged[len(damaged)-5] ^= 0xff // in the checksum
	for name, body := range map[string][]byte{"no gzip": []byte(`{"name":"x"}`), "damaged": damaged, "cut short": whole[:len(whole)-10]} {
		t.Run(name+" is refused", func(t *testing.T) {
			answer, text := post(t, "/bind/v1/all", body)
			wantStatus(t, answer, text, http.StatusBadRequest, codes.InvalidArgument)
		})
	}
	t.Run("a bomb is too large", func(t *testing.T) {
		bomb := zipped(t, `{"name":"`+strings.Repeat("x", 8<<20)+`"}`)
		if len(bomb) > 9<<10 {
			t.Fatalf("%d bytes are no bomb", len(bomb))
		}
		for _, path := range []string{"/bind/v1/all", "/stream/v1/sum", "/stream/v1/talk", "/stream/v1/count"} {
			answer, text := post(t, path, bomb)
			wantStatus(t, answer, text, http.StatusRequestEntityTooLarge, codes.ResourceExhausted)
		}
		spaces := zipped(t, `{"number":1}`+strings.Repeat(" ", 8<<20))
		answer, text := post(t, "/stream/v1/sum", spaces)
		wantStatus(t, answer, text, http.StatusRequestEntityTooLarge, codes.ResourceExhausted)
	})
	t.Run("other encodings are not supported", func(t *testing.T) {
		answer := raw(t, "POST", g.URL+"/bind/v1/all", strings.NewReader("x"), "Content-Type", "application/json", "Content-Encoding", "zstd")
		if answer.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("%s", answer.Status)
		}
	})
}
