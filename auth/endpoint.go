package auth

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// newClient returns a client of one endpoint with connections of its own, so that they can be closed without those of
// others. It follows no redirects.
func newClient(timeout time.Duration, idle int) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: idle, MaxIdleConnsPerHost: idle,
			IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// fetch asks an endpoint, and reads an answer of at most that many bytes, which may be anything. what says in errors whose
// answer it is.
func fetch(client *http.Client, request *http.Request, most int64, what string) ([]byte, error) {
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", what, answer.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > most {
		return nil, fmt.Errorf("%s answered more than %d bytes", what, most)
	}
	return raw, nil
}
