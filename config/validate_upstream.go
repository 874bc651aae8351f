package config

func (v *validator) upstreams() {
	for i := range v.config.Upstreams {
		u := &v.config.Upstreams[i]
		if v.broken[u] {
			continue
		}
		v.words(u.Endpoints, u.Pos, "endpoints", func(s string) error { return checkAddress(s, false) })
		if t := u.TLS; t != nil {
			v.clientTLS(t)
		}
	}
}

func (v *validator) clientTLS(t *ClientTLS) {
	switch {
	case t.Certificate != "" && t.Key == "":
		v.errorf(t.Pos, "tls: certificate is given without its key")
	case t.Key != "" && t.Certificate == "":
		v.errorf(t.Pos, "tls: key is given without its certificate")
	}
	if t.ServerName != "" {
		v.check(&t.ServerName, t.Pos, "server_name", checkHost(t.ServerName))
	}
}
