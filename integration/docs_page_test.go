package integration

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/crossgate/crossgate/integration/rig"
)

// watchThePage notes, from the page's beginning, what its policy refused and what it asked of other hosts.
const watchThePage = `(() => {
	window.refused = [];
	new ReportingObserver((reports) => refused.push(...reports.map((r) => JSON.stringify(r.body))), {types: ["csp-violation"], buffered: true}).observe();
	window.elsewhere = () => performance.getEntriesByType("resource").map((e) => e.name)
		.filter((name) => !name.startsWith(location.origin + "/") && !name.startsWith("data:") && !name.startsWith("blob:"));
	return true;
})()`

// TestTheDocumentationPageTriesCalls opens calls on the page, presses "Execute", and reads the backend's answers off it.
func TestTheDocumentationPageTriesCalls(t *testing.T) {
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
descriptors: [{reflection: {upstream: shop}}]
upstreams: [{name: shop, endpoints: ["%s"]}]
auth:
  - name: keys
    api_keys: {keys: [{id: a, key: a-key-for-the-tests}]}
routes:
  - name: shop
    grpc: {upstream: shop}
    auth: {require: [keys]}
  - name: docs
    docs: {title: The shop}
`, startShop(t)))
	tab := browser(t)

	// call is the block of one operation.
	call := func(method, path string) string {
		return fmt.Sprintf(`.opblock-%s:has([data-path=%q])`, method, path)
	}
	open := func(block string) step {
		return chromedp.Steps(chromedp.Click(chromedp.CSS(block+" .opblock-summary-control")), chromedp.WaitVisible(chromedp.CSS(block+" .execute")))
	}
	execute := func(block string) step { return chromedp.Click(chromedp.CSS(block + " .execute")) }
	// answered waits for the answer of the call that was made last.
	answered := func(block string, status int, text string) step {
		return until(fmt.Sprintf(`(() => {
			const row = document.querySelector(%q);
			return row && row.querySelector(".response-col_status").textContent.includes("%d") && row.textContent.includes(%q);
		})()`, block+" .live-responses-table tr.response", status, text))
	}

	inTab(t, tab, "the page is there", chromedp.Navigate(g.URL+"/docs"), until(watchThePage))
	inTab(t, tab, "and then the operations", until(`document.querySelectorAll(".opblock").length >= 10`))

	list := call("get", "/v1/shelves/{shelf}/items")
	inTab(t, tab, "a call without a key is refused",
		open(list), chromedp.SendKeys(chromedp.CSS(list+` tr[data-param-name="shelf"] input`), "1"), execute(list), answered(list, 401, "a credential is needed"))
	inTab(t, tab, "a key is given",
		chromedp.Click(chromedp.CSS(".auth-wrapper .authorize")), chromedp.SendKeys(chromedp.CSS(".auth-container input"), "a-key-for-the-tests"),
		chromedp.Click(chromedp.CSS(".auth-btn-wrapper .authorize")), chromedp.Click(chromedp.CSS(".btn-done")))
	inTab(t, tab, "the call is made", execute(list), answered(list, 200, "shelves/1/items/"))

	create := call("post", "/v1/shelves/{shelf}/items")
	inTab(t, tab, "an item is made of the example",
		open(create), chromedp.SendKeys(chromedp.CSS(create+` tr[data-param-name="shelf"] input`), "1"),
		chromedp.SendKeys(chromedp.CSS(create+` tr[data-param-name="itemId"] input`), "from-the-page"), execute(create), answered(create, 200, "shelves/1/items/from-the-page"))

	get := call("get", "/v1/shelves/{shelf}/items/{item}")
	inTab(t, tab, "and is there",
		open(get), chromedp.SendKeys(chromedp.CSS(get+` tr[data-param-name="shelf"] input`), "1"),
		chromedp.SendKeys(chromedp.CSS(get+` tr[data-param-name="item"] input`), "from-the-page"), execute(get), answered(get, 200, `"priceMicros"`))

	inTab(t, tab, "comments are shown", until(`document.body.textContent.includes("Puts a new item on a shelf")`))
	inTab(t, tab, "nothing was asked of other hosts, nothing refused", until(`elsewhere().length == 0`), until(`refused.length == 0`))
	// That the two would have been noticed is shown by a request that the policy does refuse.
	inTab(t, tab, "another host is out of reach",
		until(`fetch("http://other.invalid/").then(() => false, () => true)`), until(`refused.some((r) => r.includes("connect-src"))`))
}
