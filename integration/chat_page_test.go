package integration

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/crossgate/crossgate/integration/rig"
)

// browser starts a headless Chromium, with one tab, that ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-quic", true),
		chromedp.UserDataDir(t.TempDir()))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium does not start; `make test` installs it: %v", err)
	}
	return ctx
}

type step = chromedp.Action[chromedp.Void]

func inTab(t *testing.T, ctx context.Context, what string, steps ...step) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, rig.Patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// until waits for a JavaScript expression to be true.
func until(expression string) step {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(rig.Patience-5*time.Second))(ctx, t)
		return chromedp.Void{}, err
	}
}

func state(comparison string) step {
	return until(`document.querySelector("#state").dataset.state ` + comparison)
}

// TestChatPage types in one tab of the demo page and reads in another, through `crossgate dev` as a process; then the
// gateway is killed and started again on the same port, and both tabs follow.
func TestChatPage(t *testing.T) {
	address, admin := rig.FreeAddress(t), rig.FreeAddress(t)
	start := func() *rig.Process {
		return rig.Run(t, rig.Build(t), "dev", "--listen", address, "--admin", admin)
	}
	gateway := start()
	rig.WaitReady(t, admin)

	one := browser(t)
	two, cancel := chromedp.NewContext(one)
	defer cancel()
	if err := chromedp.Do(two); err != nil {
		t.Fatal(err)
	}
	page := "http://" + address + "/chat"
	inTab(t, one, "the first tab connects", chromedp.Navigate(page), state(`== "open"`))
	inTab(t, two, "the second tab connects", chromedp.Navigate(page), state(`== "open"`))

	said := func(text string) step {
		return until(`document.querySelector("#messages").textContent.includes("` + text + `")`)
	}
	say := func(text string) step {
		return chromedp.Steps(chromedp.SendKeys(chromedp.CSS("#text"), text), chromedp.Click(chromedp.CSS("#send")))
	}
	inTab(t, one, "a message is typed in the first tab", say("good morning"))
	inTab(t, two, "it appears in the second", said("good morning"))
	inTab(t, two, "an answer is typed in the second tab", say("<b>and to you</b>"))
	inTab(t, one, "it appears in the first, as text", said("<b>and to you</b>"))

	gateway.Kill()
	inTab(t, one, "the first tab notices that the gateway is gone", state(`!= "open"`))
	start()
	rig.WaitReady(t, admin)
	inTab(t, one, "the first tab is back", state(`== "open"`))
	inTab(t, two, "the second tab is back", state(`== "open"`))
	inTab(t, two, "a message is typed after the restart", say("here again"))
	inTab(t, one, "it appears", said("here again"))
}
