package integration

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/crossgate/crossgate/integration/rig"
)

// openPage has a tab go to a page. Where it ends up is for [inPage] to tell: the page may send it on.
func openPage(t *testing.T, tab context.Context, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
}

// inPage evaluates an expression, which may be a promise of a string, in whatever page the tab is at, until that is what is
// wanted.
func inPage(t *testing.T, tab context.Context, what, expression, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, time.Minute)
	defer cancel()
	last := ""
	for {
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
		if err == nil && got == want {
			return
		}
		if err == nil {
			last = got
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: %q, want %q; %v", what, last, want, err)
		}
	}
}

// actInPage has the page of a tab do something that may take it elsewhere.
func actInPage(t *testing.T, tab context.Context, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, time.Minute)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[string](`setTimeout(() => {`+script+`}); ""`)); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

// TestChromiumLogsInAndOut at a real OpenID provider, with pages, scripts and WebSockets, in spite of the pages of others.
func TestChromiumLogsInAndOut(t *testing.T) {
	backend := httpBackend(t, dump)
	server, address := rig.StartRedis(t), rig.FreeAddress(t)
	redirect := "http://" + address + "/oauth2/callback"
	provider := startOpenIDProvider(t, redirect)
	g := rig.StartGateway(t, fmt.Sprintf(loginConfig, address, server.URL(), backend, provider.URL, redirect))
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><form method="POST"></form>`)
	}))
	t.Cleanup(stranger.Close)

	one := browser(t)
	other, cancel := chromedp.NewContext(one)
	defer cancel()
	if err := chromedp.Do(other); err != nil {
		t.Fatal(err)
	}
	const script = `fetch("/app/data", %s).then(async r => r.status + " " + /X-User: id1/.test(await r.text()))`
	const here = `location.href`

	openPage(t, one, g.URL+"/app/page?x=1")
	inPage(t, one, "a page without a session", `location.origin + location.pathname`, provider.URL+"/login/username")
	actInPage(t, one, `const form = document.forms[0];
		form.username.value = "test-user@127.0.0.1";
		form.password.value = "verysecure";
		form.submit();`)
	inPage(t, one, "after the login", here, g.URL+"/app/page?x=1")
	inPage(t, one, "the page's cookies, as a script sees them", `document.cookie`, "")
	inPage(t, one, "a script's call", fmt.Sprintf(script, `{}`), "200 true")
	inPage(t, one, "a script's change", fmt.Sprintf(script, `{method: "POST", body: "1"}`), "200 true")
	actInPage(t, one, `window.ws = new WebSocket("ws://" + location.host + "/ws"); ws.onclose = ({code}) => window.closedWith = code;`)
	inPage(t, one, "a WebSocket", `String(ws.readyState)`, "1")

	// A tab of its own has the session as well. Pages of others cannot act for the user: another port is the same site,
	// where the cookie comes along; another host is another site.
	openPage(t, other, g.URL+"/app/other")
	inPage(t, other, "another tab", here, g.URL+"/app/other")
	for _, page := range []string{stranger.URL, strings.Replace(stranger.URL, "127.0.0.1", "localhost", 1)} {
		for _, target := range []string{"/app/data", "/oauth2/logout"} {
			openPage(t, other, page)
			actInPage(t, other, fmt.Sprintf(`document.forms[0].action = %q; document.forms[0].submit();`, g.URL+target))
			want := "CROSS_ORIGIN_REFUSED"
			if page != stranger.URL && target == "/app/data" {
				want = "UNAUTHENTICATED"
			}
			inPage(t, other, page+" posts to "+target, `location.href + " " + (document.body.innerText.match(/CROSS_ORIGIN_REFUSED|UNAUTHENTICATED/) ?? [""])[0]`, g.URL+target+" "+want)
		}
		openPage(t, other, page)
		actInPage(t, other, fmt.Sprintf(`const stranger = new WebSocket(%q); stranger.onopen = () => window.ended = "open"; stranger.onerror = () => window.ended ??= "refused";`, "ws"+strings.TrimPrefix(g.URL, "http")+"/ws"))
		inPage(t, other, page+" opens a WebSocket", `window.ended ?? ""`, "refused")
	}
	inPage(t, one, "the user's session after all that", fmt.Sprintf(script, `{}`), "200 true")

	openPage(t, other, g.URL+"/app/other")
	actInPage(t, other, `const form = document.createElement("form");
		form.method = "POST";
		form.action = "/oauth2/logout";
		document.body.append(form);
		form.submit();`)
	inPage(t, other, "after the logout", `location.origin + location.pathname`, provider.URL+"/logged-out")
	inPage(t, one, "the WebSocket of the first tab", `String(window.closedWith)`, "4003")
	inPage(t, one, "a script of the first tab", fmt.Sprintf(script, `{}`), "401 false")
	openPage(t, one, g.URL+"/app/page")
	inPage(t, one, "a page after the logout", `location.origin + location.pathname`, provider.URL+"/login/username")

	said := func(line string) bool {
		return strings.Contains(line, `"path":"/oauth2/callback"`) && strings.Contains(line, `"user":"id1"`)
	}
	for deadline := time.Now().Add(time.Minute); !slices.ContainsFunc(strings.Split(g.Log(), "\n"), said); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the access log does not say who has logged in")
		}
	}
}
