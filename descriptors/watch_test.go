package descriptors

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// watched starts a watcher and returns what waits for it to report a change, and what waits for it to report none.
func watched(t *testing.T, paths ...string) (reported, quiet func(what string)) {
	t.Helper()
	changes := make(chan struct{}, 100)
	w, err := WatchFiles(paths, func() { changes <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	reported = func(what string) {
		t.Helper()
		select {
		case <-changes:
		case <-time.After(patience):
			t.Fatalf("%s goes unnoticed", what)
		}
	}
	quiet = func(what string) {
		t.Helper()
		select {
		case <-changes:
			t.Fatalf("%s is reported", what)
		case <-time.After(3 * settle):
		}
	}
	return reported, quiet
}

func swap(t *testing.T, link, target string) {
	t.Helper()
	if err := os.Symlink(target, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

func TestASwitchedLinkAsInAConfigMapIsNoticed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/..1/set.binpb", []byte("1"))
	write(t, dir+"/..2/set.binpb", []byte("22"))
	swap(t, dir+"/..data", "..1")
	file := filepath.Join(dir, "set.binpb")
	if err := os.Symlink("..data/set.binpb", file); err != nil {
		t.Fatal(err)
	}
	reported, _ := watched(t, file)
	swap(t, dir+"/..data", "..2")
	reported("a switch to another folder")
	write(t, dir+"/..2/set.binpb", []byte("333"))
	reported("a write where the link now leads")
}

func TestABusyNeighbourIsNotReportedAndHidesNoChange(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir+"/set.binpb", []byte("1"))
	log := dir + "/access.log"
	reported, quiet := watched(t, file)
	write(t, log, []byte("a line"))
	quiet("a write to a neighbour")

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(settle / 10)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				_ = os.WriteFile(log, []byte("another line"), 0o644)
			}
		}
	}()
	write(t, file, []byte("22"))
	reported("a write beside a log that is never quiet")
	close(stop)
	<-stopped
}

func TestATreeThatIsRemovedAndMadeAgainIsStillWatched(t *testing.T) {
	root := filepath.Join(t.TempDir(), "tree")
	write(t, root+"/a.proto", []byte("1"))
	reported, _ := watched(t, root)
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	reported("that the tree is gone")
	write(t, root+"/deep/a.proto", []byte("2"))
	reported("that the tree is back")
	write(t, root+"/deep/a.proto", []byte("33"))
	reported("a change in the new tree")
}

func TestAFileInAFolderThatIsNotThereCannotBeWatched(t *testing.T) {
	if w, err := WatchFiles([]string{t.TempDir() + "/none/set.binpb"}, func() {}); err == nil {
		w.Close()
		t.Error("no error")
	}
}
