package app

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
)

// watcher tells when the files of a configuration change. It watches their folders,
// because a file that is replaced is another one, and the folder of each symbolic link
// on the way to them: a mounted ConfigMap changes by one link that is replaced.
type watcher struct {
	// notify is nil where files cannot be watched; events and errors are nil then too.
	notify *fsnotify.Watcher
	events <-chan fsnotify.Event
	errors <-chan error
	log    *zap.Logger
	// paths are the files and links whose change matters, rules is the folder of the
	// rules; empty when they are one file.
	paths map[string]bool
	rules string
	// folders are those that are watched.
	folders map[string]bool
}

func newWatcher(log *zap.Logger) *watcher {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("configuration files are not watched: send SIGHUP after a change", zap.Error(err))
		return &watcher{log: log}
	}
	return &watcher{notify: notify, events: notify.Events, errors: notify.Errors, log: log}
}

func (w *watcher) close() {
	if w.notify != nil {
		_ = w.notify.Close()
	}
}

// watch replaces what is watched: from now on it is these inputs. more reports that some
// of it was not watched before, so that a change may have been missed.
func (w *watcher) watch(in *inputs) (more bool) {
	if w.notify == nil {
		return false
	}
	before := w.paths
	w.paths, w.rules, w.folders = map[string]bool{}, "", map[string]bool{}
	for _, path := range append(slices.Clone(in.files), in.rules) {
		if path != "" {
			w.add(path)
		}
	}
	if info, err := os.Stat(in.rules); err == nil && info.IsDir() {
		if w.rules, err = filepath.Abs(in.rules); err == nil {
			w.folders[w.rules] = true
			w.addEntries()
		}
	}
	watched := w.notify.WatchList()
	for _, folder := range watched {
		if !w.folders[folder] {
			// It may be gone already, with its watch.
			_ = w.notify.Remove(folder)
		}
	}
	for folder := range w.folders {
		err := w.notify.Add(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.log.Warn("folder cannot be watched: send SIGHUP after a change in it", zap.String(event.LogFile, folder), zap.Error(err))
		}
		more = more || err == nil && !slices.Contains(watched, folder)
	}
	for path := range w.paths {
		more = more || !before[path]
	}
	return more
}

// addEntries adds where the links in the folder of the rules lead.
func (w *watcher) addEntries() {
	entries, err := os.ReadDir(w.rules)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if entry.Type()&fs.ModeSymlink != 0 {
			w.add(filepath.Join(w.rules, entry.Name()))
		}
	}
}

// add adds a file, every symbolic link on the way to it, and the folders of them.
func (w *watcher) add(path string) {
	path, err := filepath.Abs(path)
	if err != nil {
		return
	}
	// As many links as the kernel follows.
	for range 40 {
		link, rest, found := firstLink(path)
		if !found {
			break
		}
		w.paths[link], w.folders[filepath.Dir(link)] = true, true
		target, err := os.Readlink(link)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		path = filepath.Join(target, rest)
	}
	w.paths[path] = true
	folder := filepath.Dir(path)
	// A folder that is missing is waited for in the one above.
	for missing(folder) {
		w.paths[folder] = true
		folder = filepath.Dir(folder)
	}
	w.folders[folder] = true
}

// firstLink returns the first part of an absolute path that is a symbolic link, and
// what follows it.
func firstLink(path string) (link, rest string, found bool) {
	parts := strings.Split(path, string(filepath.Separator))
	for i := range parts {
		link = string(filepath.Separator) + filepath.Join(parts[:i+1]...)
		if info, err := os.Lstat(link); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return link, filepath.Join(parts[i+1:]...), true
		}
	}
	return "", "", false
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// matters reports whether a change may be one of the configuration. Other files in the
// same folders, such as a database, change all the time.
func (w *watcher) matters(e fsnotify.Event) bool {
	if w.paths[e.Name] || w.folders[e.Name] {
		return true
	}
	extension := filepath.Ext(e.Name)
	return w.rules != "" && filepath.Dir(e.Name) == w.rules && (extension == ".yaml" || extension == ".yml")
}
