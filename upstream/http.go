package upstream

import (
	"net"
	"net/http"
	"time"

	"github.com/crossgate/crossgate/config"
)

// expectContinue is how long a request's body waits for a backend that has not said whether it wants it (RFC 9110 section
// 10.1.1): the backend may know nothing of the expectation.
const expectContinue = time.Second

// speakHTTP gives a link of protocol http its transports.
func (k *link) speakHTTP(cfg *config.Upstream, tls *clientTLS) {
	d := &dialer{net: net.Dialer{Timeout: cfg.ConnectTimeout.Std()}, timeout: cfg.ConnectTimeout.Std()}
	var protocols, one http.Protocols
	one.SetHTTP1(true)
	switch {
	case cfg.HTTPVersion == "1.1", cfg.HTTPVersion == "auto" && tls == nil:
		protocols.SetHTTP1(true)
	case tls == nil:
		protocols.SetUnencryptedHTTP2(true)
	case cfg.HTTPVersion == "auto":
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
	default:
		protocols.SetHTTP2(true)
	}
	if tls != nil {
		k.scheme = "https"
	}
	k.transport = httpTransport(&protocols, d, cfg, tls)
	k.upgrades = k.transport
	if protocols != one {
		k.upgrades = httpTransport(&one, d, cfg, tls)
	}
}

// httpTransport carries requests as they are: it asks for no compression and undoes none.
func httpTransport(protocols *http.Protocols, d *dialer, cfg *config.Upstream, tls *clientTLS) *http.Transport {
	d = &dialer{net: d.net, timeout: d.timeout}
	t := &http.Transport{
		Protocols:              protocols,
		DialContext:            d.dial,
		DialTLSContext:         d.dialTLS,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    cfg.MaxIdleConnections,
		IdleConnTimeout:        cfg.IdleTimeout.Std(),
		ExpectContinueTimeout:  expectContinue,
		MaxResponseHeaderBytes: int64(cfg.MaxHeaderSize),
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: int(cfg.StreamWindow)},
	}
	if tls != nil {
		d.tls = tls.config.Clone()
		if protocols.HTTP2() {
			d.tls.NextProtos = append(d.tls.NextProtos, "h2")
		}
		if protocols.HTTP1() {
			d.tls.NextProtos = append(d.tls.NextProtos, "http/1.1")
		}
	}
	return t
}

// transportFor returns what carries a request: HTTP/2 has no Upgrade (RFC 9113 section 8.6).
func (k *link) transportFor(r *http.Request) *http.Transport {
	if k.upgrades != nil && r.Header["Upgrade"] != nil {
		return k.upgrades
	}
	return k.transport
}
