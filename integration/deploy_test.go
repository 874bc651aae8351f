package integration

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/crossgate/crossgate/config"
)

// composeFile is what these tests look at in docker-compose.yml. The file as a whole is for Compose to judge.
type composeFile struct {
	Services map[string]struct {
		Image       string
		Build       string
		Command     []string
		Ports       []string
		Volumes     []string
		Environment map[string]string
		DependsOn   any      `yaml:"depends_on"`
		CapDrop     []string `yaml:"cap_drop"`
	}
	Volumes map[string]any
}

func readCompose(t *testing.T) composeFile {
	t.Helper()
	raw, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestComposeHasTheGatewayAndAllAroundIt(t *testing.T) {
	file := readCompose(t)
	for _, name := range []string{"gateway", "redis", "shop", "chat", "prometheus", "grafana"} {
		service, ok := file.Services[name]
		if !ok {
			t.Errorf("docker-compose.yml has no service %s", name)
			continue
		}
		if service.Build == "" && (!strings.Contains(service.Image, ":") || strings.HasSuffix(service.Image, ":latest")) {
			t.Errorf("%s: image %q names no release", name, service.Image)
		}
		if !slices.Equal(service.CapDrop, []string{"ALL"}) {
			t.Errorf("%s: cap_drop is %v, want ALL", name, service.CapDrop)
		}
	}
}

func TestComposeOpensOnlyTheGatewayToOtherMachines(t *testing.T) {
	for name, service := range readCompose(t).Services {
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") && (name != "gateway" || port != "8080:8080") {
				t.Errorf("%s: port %s is open to other machines", name, port)
			}
		}
	}
}

func TestComposeMountsFilesThatExist(t *testing.T) {
	file := readCompose(t)
	for name, service := range file.Services {
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if !strings.HasPrefix(source, ".") {
				if _, ok := file.Volumes[source]; !ok {
					t.Errorf("%s: volume %s is not declared", name, source)
				}
				continue
			}
			if _, err := os.Stat(filepath.Join("..", source)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestComposeConfigurationNamesItsServices(t *testing.T) {
	t.Setenv("CROSSGATE_ADMIN_TOKEN", "a-token-that-is-long-enough-for-any-check")
	services := readCompose(t).Services
	raw, err := os.ReadFile("../deploy/crossgate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The page is in the image only.
	page := filepath.Join(t.TempDir(), "chat.html")
	if err := os.WriteFile(page, []byte("<!doctype html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), "/usr/share/crossgate/chat.html", page)
	if text == string(raw) {
		t.Error("deploy/crossgate.yaml serves no chat page")
	}
	cfg, err := config.Parse("deploy/crossgate.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	isService := func(what, address string) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if _, ok := services[host]; !ok {
			t.Errorf("%s: %s is no service of docker-compose.yml", what, host)
		}
	}
	for _, u := range cfg.Upstreams {
		for _, endpoint := range u.Endpoints {
			isService("upstream "+u.Name, endpoint)
		}
	}
	at, err := url.Parse(string(cfg.Redis.URL))
	if err != nil {
		t.Fatal(err)
	}
	isService("redis", at.Host)
	if chat := services["chat"].Command; !slices.Contains(chat, string(cfg.Redis.URL)) {
		t.Errorf("the chat service runs %v, with another Redis than the gateway's", chat)
	}
}

func TestPrometheusScrapesTheGatewaysAdminListener(t *testing.T) {
	raw, err := os.ReadFile("../deploy/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		ScrapeConfigs []struct {
			JobName       string                       `yaml:"job_name"`
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.ScrapeConfigs) != 1 || len(file.ScrapeConfigs[0].StaticConfigs) != 1 ||
		!slices.Equal(file.ScrapeConfigs[0].StaticConfigs[0].Targets, []string{"gateway:9901"}) {
		t.Errorf("deploy/prometheus.yml scrapes %+v, want gateway:9901", file.ScrapeConfigs)
	}
}

func TestGrafanaIsProvisioned(t *testing.T) {
	services := readCompose(t).Services
	var sources struct {
		Datasources []struct{ UID, Type, URL string }
	}
	readYAML(t, "../deploy/grafana/provisioning/datasources/prometheus.yml", &sources)
	if len(sources.Datasources) != 1 || sources.Datasources[0].Type != "prometheus" {
		t.Fatalf("datasources are %+v, want one of type prometheus", sources.Datasources)
	}
	at, err := url.Parse(sources.Datasources[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := services[at.Hostname()]; !ok {
		t.Errorf("the datasource asks %s, which is no service of docker-compose.yml", at)
	}

	var folders struct {
		Providers []struct{ Options struct{ Path string } }
	}
	readYAML(t, "../deploy/grafana/provisioning/dashboards/crossgate.yml", &folders)
	if len(folders.Providers) != 1 {
		t.Fatalf("dashboard providers are %+v, want one", folders.Providers)
	}
	mounted := slices.ContainsFunc(services["grafana"].Volumes, func(v string) bool {
		return strings.HasPrefix(v, "./deploy/grafana/dashboards:"+folders.Providers[0].Options.Path)
	})
	if !mounted {
		t.Errorf("%s is not where docker-compose.yml mounts the dashboards", folders.Providers[0].Options.Path)
	}
}

func TestTheDashboardShowsMetricsThatExist(t *testing.T) {
	raw, err := os.ReadFile("../deploy/grafana/dashboards/crossgate.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		UID    string
		Panels []struct {
			ID         int
			Type       string
			Title      string
			Datasource struct{ UID string }
			Targets    []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &board); err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`crossgate_[a-z_]+`)
	shown := map[string]bool{}
	ids := map[int]bool{}
	for _, panel := range board.Panels {
		if ids[panel.ID] {
			t.Errorf("panel %q has the id %d of another", panel.Title, panel.ID)
		}
		ids[panel.ID] = true
		if panel.Type == "row" {
			continue
		}
		if panel.Datasource.UID != "prometheus" || len(panel.Targets) == 0 {
			t.Errorf("panel %q asks nothing of the datasource", panel.Title)
		}
		for _, target := range panel.Targets {
			for _, name := range metric.FindAllString(target.Expr, -1) {
				name = strings.TrimSuffix(name, "_bucket")
				shown[name] = true
				if !strings.Contains(string(manual), "`"+name) {
					t.Errorf("panel %q shows %s, which docs/metrics.md does not have", panel.Title, name)
				}
			}
		}
	}
	for _, name := range metric.FindAllString(string(manual), -1) {
		if name != "crossgate_build_info" && !shown[name] {
			t.Errorf("docs/metrics.md has %s, which no panel shows", name)
		}
	}
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}
