package auth

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
)

func segment(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// raw makes a token of a header and a payload as they are written here, signed with HMAC-SHA256.
func raw(header, payload string, key []byte) string {
	text := segment([]byte(header)) + "." + segment([]byte(payload))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return text + "." + segment(mac.Sum(nil))
}

func payload(t testing.TB, changes map[string]any) string {
	t.Helper()
	b, err := json.Marshal(claimsWith(changes))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// loose changes the bits of the last character that no byte has.
func loose(segment string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, segment[len(segment)-1])
	return segment[:len(segment)-1] + string(alphabet[last^1])
}

// asn1Signed makes an ES256 token whose signature is right but for its form (RFC 7518 section 3.4).
func asn1Signed(t testing.TB, body string) string {
	t.Helper()
	text := segment([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + segment([]byte(body))
	sum := sha256.Sum256([]byte(text))
	signature, err := ecdsa.SignASN1(rand.Reader, p256(), sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + segment(signature)
}

// TestAttacks are the tokens that RFC 8725 and the history of JWT libraries warn of. None may be let in, and no
// refusal may repeat a part of the token.
func TestAttacks(t *testing.T) {
	var visits atomic.Int32
	lure := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	t.Cleanup(lure.Close)

	secretKey := []byte(secret)
	hs := func(changes, header map[string]any) string {
		return sign(t, jwt.SigningMethodHS256, secretKey, claimsWith(changes), header)
	}
	good := hs(nil, nil)
	parts := strings.Split(good, ".")
	body := payload(t, nil)
	none := func(alg string) string {
		return segment([]byte(`{"alg":"`+alg+`","typ":"JWT"}`)) + "." + segment([]byte(body)) + "."
	}
	der, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	pkcs1 := x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)
	const header = `{"alg":"HS256","typ":"JWT"}`

	withRSA := func(j *config.JWT) { j.KeyFile = publicPEM(t, rsaKey().Public()) }
	withEC := func(j *config.JWT) { j.KeyFile = publicPEM(t, p256().Public()) }
	only := func(alg string, with func(*config.JWT)) func(*config.JWT) {
		return func(j *config.JWT) { with(j); j.Algorithms = []string{alg} }
	}
	aged := func(j *config.JWT) { withSecret(j); j.MaxAge = config.Duration(10 * time.Minute) }
	typed := func(typ string) func(*config.JWT) {
		return func(j *config.JWT) { withSecret(j); j.Types = []string{typ} }
	}
	claiming := func(name string, values ...string) func(*config.JWT) {
		return func(j *config.JWT) {
			withSecret(j)
			j.RequiredClaims = []config.RequiredClaim{{Claim: name, Values: values}}
		}
	}
	embedded := map[string]any{"kty": "oct", "k": segment([]byte("0123456789abcdef0123456789abcdef")), "alg": "HS256"}
	attacker := []byte("0123456789abcdef0123456789abcdef")

	const (
		notJWT    = "the credential is not a JSON Web Token"
		notMethod = "the token's algorithm is not accepted"
		encrypted = "the token is encrypted, which is not accepted"
		twoWays   = "the token's claims are malformed, or have a key twice"
		wrongAlg  = "the token's algorithm is not accepted for its key"
		wrongSig  = "the token's signature is wrong"
	)
	for _, c := range []struct {
		name   string
		with   func(*config.JWT)
		token  string
		reason string
	}{
		{"alg none", withSecret, none("none"), notMethod},
		{"alg None", withSecret, none("None"), notMethod},
		{"alg nOnE", withSecret, none("nOnE"), notMethod},
		{"alg NONE", withSecret, none("NONE"), notMethod},
		{"alg none with an RSA key", withRSA, none("none"), notMethod},
		{"alg none with a signature", withSecret, none("none") + parts[2], notMethod},
		{"no alg", withSecret, raw(`{"typ":"JWT"}`, body, secretKey), notMethod},
		{"an empty alg", withSecret, raw(`{"alg":"","typ":"JWT"}`, body, secretKey), notMethod},
		{"an alg that is no string", withSecret, raw(`{"alg":["HS256"],"typ":"JWT"}`, body, secretKey), notMethod},
		{"an alg in lower case", withSecret, raw(`{"alg":"hs256","typ":"JWT"}`, body, secretKey), notMethod},
		{"HMAC with the public key's PEM", withRSA, raw(header, body, asPEM), wrongAlg},
		{"HMAC with the public key's PEM without its last newline", withRSA, raw(header, body, asPEM[:len(asPEM)-1]), wrongAlg},
		{"HMAC with the public key's DER", withRSA, raw(header, body, der), wrongAlg},
		{"HMAC with the public key's PKCS #1 DER", withRSA, raw(header, body, pkcs1), wrongAlg},
		{"HMAC with an ES256 public key's DER", withEC, raw(header, body, der), wrongAlg},
		{"HMAC with an empty key", withRSA, raw(header, body, nil), wrongAlg},
		{"HMAC with an empty key where a secret is asked for", withSecret, raw(header, body, nil), wrongSig},
		{"HMAC with another secret", withSecret, raw(header, body, attacker), wrongSig},
		{"a kid that is a path", withSecret, sign(t, jwt.SigningMethodHS256, []byte{}, claimsWith(nil), map[string]any{"kid": "../../../../dev/null"}), wrongSig},
		{"a kid that is a path to a known file", withSecret, sign(t, jwt.SigningMethodHS256, asPEM, claimsWith(nil), map[string]any{"kid": "file:///etc/hostname"}), wrongSig},
		{"a kid that is SQL", withSecret, sign(t, jwt.SigningMethodHS256, attacker, claimsWith(nil), map[string]any{"kid": "x' UNION SELECT '0123456789abcdef0123456789abcdef"}), wrongSig},
		{"a kid that is no string", withSecret, sign(t, jwt.SigningMethodHS256, attacker, claimsWith(nil), map[string]any{"kid": []string{"a"}}), "the token's kid is not a string"},
		{"a jku of the attacker", withSecret, sign(t, jwt.SigningMethodHS256, attacker, claimsWith(nil), map[string]any{"jku": lure.URL}), wrongSig},
		{"an x5u of the attacker", withRSA, sign(t, jwt.SigningMethodRS256, otherRSA(), claimsWith(nil), map[string]any{"x5u": lure.URL}), wrongSig},
		{"a key embedded in the header", withSecret, sign(t, jwt.SigningMethodHS256, attacker, claimsWith(nil), map[string]any{"jwk": embedded}), wrongSig},
		{"a certificate embedded in the header", withRSA, sign(t, jwt.SigningMethodRS256, otherRSA(), claimsWith(nil), map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(der)}}), wrongSig},
		{"a kid that is huge", withSecret, sign(t, jwt.SigningMethodHS256, attacker, claimsWith(nil), map[string]any{"kid": strings.Repeat("k", 9<<10)}), "the token is too long"},
		{"an x5c and its thumbprint", withRSA, sign(t, jwt.SigningMethodRS256, otherRSA(), claimsWith(nil), map[string]any{"x5t#S256": "AAAA"}), wrongSig},
		{"an empty signature", withSecret, parts[0] + "." + parts[1] + ".", wrongSig},
		{"an empty ES256 signature", withEC, segment([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + segment([]byte(body)) + ".", wrongSig},
		{"an ES256 signature of zeros (CVE-2022-21449)", withEC, segment([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + segment([]byte(body)) + "." + segment(make([]byte, 64)), wrongSig},
		{"an ES256 signature whose r and s are the order of the curve", withEC, segment([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + segment([]byte(body)) + "." + segment(append(p256().Params().N.Bytes(), p256().Params().N.Bytes()...)), wrongSig},
		{"an ES256 signature in ASN.1", withEC, asn1Signed(t, body), wrongSig},
		{"more after the signature", withSecret, good + "AAAA", wrongSig},
		{"a truncated signature", withSecret, good[:len(good)-3], wrongSig},
		{"a signature cut within a byte", withSecret, good[:len(good)-2] + "B", notJWT},
		{"no signature", withSecret, parts[0] + "." + parts[1], notJWT},
		{"a header alone", withSecret, parts[0], notJWT},
		{"four segments", withSecret, good + "." + parts[2], notJWT},
		{"five segments, as of an encrypted token", withSecret, good + ".a.b", encrypted},
		{"an encrypted token's header over a signature", withSecret, raw(`{"alg":"dir","enc":"A256GCM"}`, body, secretKey), notMethod},
		{"an algorithm of encryption", withSecret, raw(`{"alg":"RSA-OAEP","typ":"JWT"}`, body, secretKey), notMethod},
		{"PBES2 with many rounds", withSecret, raw(`{"alg":"PBES2-HS256+A128KW","p2c":2147483647}`, body, secretKey), notMethod},
		{"a space after the token", withSecret, good + " ", notJWT},
		{"a line break within a segment", withSecret, parts[0][:4] + "\n" + parts[0][4:] + "." + parts[1] + "." + parts[2], notJWT},
		{"a header with bits beyond its last byte", withSecret, loose(parts[0]) + "." + parts[1] + "." + parts[2], notJWT},
		{"claims in the alphabet of plain base64", withSecret, parts[0] + "." + base64.RawStdEncoding.EncodeToString([]byte(`{"sub":"ÿÿÿ>>>???"}`)) + "." + parts[2], twoWays},
		{"dots alone", withSecret, "..", notJWT},
		{"a segment that is not base64url", withSecret, "!!!." + parts[1] + "." + parts[2], notJWT},
		{"a signature in padded base64", withSecret, good + "=", notJWT},
		{"a header that is a list", withSecret, raw(`["HS256"]`, body, secretKey), notJWT},
		{"a claim twice", withSecret, raw(header, strings.TrimSuffix(body, "}")+`,"sub":"root"}`, secretKey), twoWays},
		{"a claim twice, once with an escape", withSecret, raw(header, strings.TrimSuffix(body, "}")+`,"\u0073ub":"root"}`, secretKey), twoWays},
		{"a key twice in a nested claim", withSecret, raw(header, strings.TrimSuffix(body, "}")+`,"act":{"sub":"a","sub":"b"}}`, secretKey), twoWays},
		{"claims nested deeply", withSecret, raw(header, strings.TrimSuffix(body, "}")+`,"x":`+strings.Repeat("[", 900)+strings.Repeat("]", 900)+`}`, secretKey), twoWays},
		{"a header nested deeply", withSecret, raw(`{"alg":"HS256","x":`+strings.Repeat(`{"a":`, 100)+"1"+strings.Repeat("}", 100)+"}", body, secretKey), notJWT},
		{"alg twice", withSecret, raw(`{"alg":"none","alg":"HS256","typ":"JWT"}`, body, secretKey), notJWT},
		{"kid twice", withSecret, raw(`{"alg":"HS256","kid":"a","kid":"b"}`, body, secretKey), notJWT},
		{"claims with text after them", withSecret, raw(header, body+`{"sub":"root"}`, secretKey), twoWays},
		{"an oversized token", withSecret, hs(map[string]any{"pad": strings.Repeat("a", 8<<10)}, nil), "the token is too long"},
		{"an oversized credential that is no token", withSecret, strings.Repeat("a.", 1<<20), "the token is too long"},
		{"a token that expired just beyond the clock skew", withSecret, hs(map[string]any{"exp": today.Add(-31 * time.Second).Unix()}, nil), "the token has expired"},
		{"a token whose time begins beyond the clock skew", withSecret, hs(map[string]any{"nbf": today.Add(31 * time.Second).Unix()}, nil), "the token is not valid yet"},
		{"a token issued beyond the clock skew", withSecret, hs(map[string]any{"iat": today.Add(31 * time.Second).Unix()}, nil), "the token was issued in the future"},
		{"an exp that is a string", withSecret, hs(map[string]any{"exp": "9999999999"}, nil), "the token is not valid"},
		{"an exp beyond all time", withSecret, raw(header, strings.Replace(payload(t, map[string]any{"exp": 7}), `"exp":7`, `"exp":1e400`, 1), secretKey), twoWays},
		{"a negative exp", withSecret, hs(map[string]any{"exp": -1}, nil), "the token has expired"},
		{"no exp", withSecret, hs(map[string]any{"exp": nil}, nil), "the token has no exp, iss or aud claim, which is needed"},
		{"an exp of null", withSecret, raw(header, strings.Replace(payload(t, map[string]any{"exp": 7}), `"exp":7`, `"exp":null`, 1), secretKey), "the token is not valid"},
		{"the typ of a logout token", withSecret, hs(nil, map[string]any{"typ": "logout+jwt"}), "the token's typ is not JWT or at+jwt"},
		{"the typ of an encrypted token", withSecret, hs(nil, map[string]any{"typ": "JWE"}), "the token's typ is not JWT or at+jwt"},
		{"a typ that is no string", withSecret, hs(nil, map[string]any{"typ": []string{"logout+jwt"}}), "the token's typ is not JWT or at+jwt"},
		{"another audience", withSecret, hs(map[string]any{"aud": "bank"}, nil), "the token is for another audience"},
		{"a list of other audiences", withSecret, hs(map[string]any{"aud": []string{"bank", "shops"}}, nil), "the token is for another audience"},
		{"no audience", withSecret, hs(map[string]any{"aud": nil}, nil), "the token has no exp, iss or aud claim, which is needed"},
		{"another issuer", withSecret, hs(map[string]any{"iss": "https://evil.example"}, nil), "the token's issuer is not accepted"},
		{"the issuer with a slash after it", withSecret, hs(map[string]any{"iss": issuer + "/"}, nil), "the token's issuer is not accepted"},
		{"no issuer", withSecret, hs(map[string]any{"iss": nil}, nil), "the token's issuer is not accepted"},
		{"a list of issuers", withSecret, hs(map[string]any{"iss": []string{issuer}}, nil), "the token's issuer is not accepted"},
		{"ES256 with another key", withEC, sign(t, jwt.SigningMethodES256, otherP256(), claimsWith(nil), nil), wrongSig},
		{"ES384 where the key is of P-256", withEC, sign(t, jwt.SigningMethodES384, p384(), claimsWith(nil), nil), wrongAlg},
		{"RS256 with another key", withRSA, sign(t, jwt.SigningMethodRS256, otherRSA(), claimsWith(nil), nil), wrongSig},
		{"EdDSA where the key is RSA", withRSA, sign(t, jwt.SigningMethodEdDSA, edKey(), claimsWith(nil), nil), wrongAlg},
		{"PS256 where only RS256 is accepted", only("RS256", withRSA), sign(t, jwt.SigningMethodPS256, rsaKey(), claimsWith(nil), nil), wrongAlg},
		{"RS256 where only PS256 is accepted", only("PS256", withRSA), sign(t, jwt.SigningMethodRS256, rsaKey(), claimsWith(nil), nil), wrongAlg},
		{"RS512 where only RS256 is accepted", only("RS256", withRSA), sign(t, jwt.SigningMethodRS512, rsaKey(), claimsWith(nil), nil), wrongAlg},
		{"HS384 where only HS256 is accepted", only("HS256", withSecret), sign(t, jwt.SigningMethodHS384, secretKey, claimsWith(nil), nil), wrongAlg},
		{"a crit header", withSecret, hs(nil, map[string]any{"crit": []string{"exp"}, "exp": 1}), "the token has a crit header, and nothing in it is understood"},
		{"an empty crit header", withSecret, hs(nil, map[string]any{"crit": []string{}}), "the token has a crit header, and nothing in it is understood"},
		{"b64 false", withSecret, hs(nil, map[string]any{"b64": false, "crit": []string{"b64"}}), "the token has a crit header, and nothing in it is understood"},
		{"b64 false without crit", withSecret, hs(nil, map[string]any{"b64": false}), "the token has a b64 header, which is not understood"},
		{"a token too old for max_age, by skew", aged, hs(map[string]any{"iat": today.Add(-10*time.Minute - 30*time.Second).Unix()}, nil), "the token was issued too long ago"},
		{"no iat where max_age asks for it", aged, hs(map[string]any{"iat": nil}, nil), "the token has no iat claim, which is needed"},
		{"at+jwt where only JWT is wanted", typed("JWT"), hs(nil, map[string]any{"typ": "at+jwt"}), "the token's typ is not JWT"},
		{"JWT where only at+jwt is wanted", typed("at+jwt"), good, "the token's typ is not at+jwt"},
		{"no typ where one is wanted", typed("JWT"), raw(`{"alg":"HS256"}`, body, secretKey), "the token's typ is not JWT"},
		{"without a claim that is needed", claiming("tenant"), good, "the token has no tenant claim, which is needed"},
		{"with null for a claim that is needed", claiming("tenant"), raw(header, strings.TrimSuffix(body, "}")+`,"tenant":null}`, secretKey), "the token has no tenant claim, which is needed"},
		{"with another value of a claim that is needed", claiming("act.tenant", "a", "b"), hs(map[string]any{"act": map[string]any{"tenant": "c"}}, nil), "the token's act.tenant claim is not accepted"},
		{"with a value inside a list of lists", claiming("tenant", "a"), hs(map[string]any{"tenant": []any{[]string{"a"}}}, nil), "the token's tenant claim is not accepted"},
		{"a sub that is a number", withSecret, hs(map[string]any{"sub": 7}, nil), "the token's sub claim is not a string"},
		{"a sub that is a list", withSecret, hs(map[string]any{"sub": []string{"root"}}, nil), "the token's sub claim is not a string"},
		{"an nbf that overflows", withSecret, hs(map[string]any{"nbf": 1e300}, nil), "the token's nbf claim is no date"},
		{"an exp that overflows", withSecret, hs(map[string]any{"exp": 1e300}, nil), "the token's exp claim is no date"},
		{"a sub that is no UTF-8", withSecret, raw(header, strings.Replace(body, `"ada"`, "\"a\xff\"", 1), secretKey), twoWays},
		{"an empty object", withSecret, raw(header, "{}", secretKey), "the token's issuer is not accepted"},
		{"no JSON", withSecret, raw("x", "y", secretKey), notJWT},
		{"NUL bytes", withSecret, "\x00.\x00.\x00", notJWT},
	} {
		t.Run(c.name+" is refused", func(t *testing.T) {
			p := jwtPolicy(t, c.with)
			id, _, err := p.Authenticate(t.Context(), bearer(c.token))
			why := refused(t, id, err)
			if why.Reason != c.reason {
				t.Errorf("refused with %q, want %q", why.Reason, c.reason)
			}
			if why.Denied {
				t.Error("refused as an identity that may not, want a wrong credential")
			}
			for part := range strings.SplitSeq(c.token, ".") {
				if len(part) > 8 && (strings.Contains(why.Reason, part) || strings.Contains(why.Challenge, part)) {
					t.Errorf("the refusal repeats the token: %+v", why)
				}
			}
			if strings.ContainsAny(why.Challenge, "\r\n") || strings.Contains(why.Reason, "evil") || strings.Contains(why.Reason, secret) {
				t.Errorf("the refusal tells too much: %+v", why)
			}
			again, err := p.AuthenticateToken(t.Context(), c.token)
			refused(t, again, err)
		})
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("keys that a token names were fetched %d times", n)
	}
}

// TestNotAttacks are tokens that are odd, and in order.
func TestNotAttacks(t *testing.T) {
	for _, c := range []struct {
		name           string
		claims, header map[string]any
	}{
		{"a token that expired within the clock skew", map[string]any{"exp": today.Add(-29 * time.Second).Unix()}, nil},
		{"a token whose time begins within the clock skew", map[string]any{"nbf": today.Add(30 * time.Second).Unix()}, nil},
		{"a token issued within the clock skew", map[string]any{"iat": today.Add(30 * time.Second).Unix()}, nil},
		{"an exp with a fraction", map[string]any{"exp": float64(today.Unix()) + 3600.5}, nil},
		{"the typ of an access token (RFC 9068)", nil, map[string]any{"typ": "at+jwt"}},
		{"a typ as a media type, in any case", nil, map[string]any{"typ": "application/AT+JWT"}},
		{"a kid where the secret has no name", nil, map[string]any{"kid": "2026-01"}},
		{"a jku, which is passed over", nil, map[string]any{"jku": "https://evil.example/keys"}},
		{"a huge kid within the token's bound", nil, map[string]any{"kid": strings.Repeat("k", 2<<10)}},
		{"no sub, whose user is then empty", map[string]any{"sub": nil}, nil},
		{"a claim's nested object with a claim's name", map[string]any{"act": map[string]any{"sub": "root", "iss": "x"}}, nil},
	} {
		t.Run(c.name+" is let in", func(t *testing.T) {
			p := jwtPolicy(t, withSecret)
			id, _, err := p.Authenticate(t.Context(), bearer(sign(t, jwt.SigningMethodHS256, []byte(secret), claimsWith(c.claims), c.header)))
			if err != nil {
				t.Fatal(err)
			}
			if want, _ := claimsWith(c.claims)["sub"].(string); id.User != want {
				t.Errorf("user %q, want %q", id.User, want)
			}
		})
	}
}

// FuzzVerify looks for a credential that is let in without being signed, and for one that breaks something.
func FuzzVerify(f *testing.F) {
	v, err := newJWTVerifier("tokens", jwtConfig(func(j *config.JWT) { j.KeyFile = publicPEM(f, p256().Public()) }), nil, &Options{})
	if err != nil {
		f.Fatal(err)
	}
	good := sign(f, jwt.SigningMethodES256, p256(), claimsWith(nil), nil)
	f.Add(good)
	f.Add("..")
	f.Add(raw(`{"alg":"none"}`, `{}`, nil))
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.check(t.Context(), token)
		if err == nil && id.User != "ada" {
			t.Errorf("%q is let in as %+v", token, id)
		}
	})
}
