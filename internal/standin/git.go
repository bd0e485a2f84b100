package standin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/plumbing/transport/server"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"
)

// repositoryKey returns what two spellings of one repository's URL have in
// common: host, port unless it is the scheme's own, and path, in lower case and
// without user, scheme, `.git` and slashes at the end. Local paths are kept.
func repositoryKey(raw string) string {
	raw = strings.TrimSpace(raw)
	if m := scpForm.FindStringSubmatch(raw); m != nil && !strings.Contains(raw, "://") {
		raw = "ssh://" + m[1] + "/" + m[2]
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return raw
	}
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != map[string]string{"http": "80", "https": "443", "ssh": "22"}[u.Scheme] {
		host = net.JoinHostPort(host, port)
	}
	path := strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	return host + "/" + strings.ToLower(strings.TrimRight(path, "/"))
}

// scpForm is git's short form of an ssh URL: user@host:path.
var scpForm = regexp.MustCompile(`^(?:[^@/:]+@)?([^/:]+):([^/].*)$`)

// errUnreachable ends the run of a repository that may not be cloned.
var errUnreachable = errors.New("repository not reachable")

// localRepositories maps repositories to paths: by repositoryKey, or by full name for any host.
type localRepositories map[string]string

func newLocalRepositories(paths map[string]string) localRepositories {
	l := localRepositories{}
	for name, path := range paths {
		l[localKey(name)] = path
	}
	return l
}

// localKey is repositoryKey, and for a full name that name in lower case.
func localKey(name string) string {
	if fullNameForm.MatchString(name) {
		return strings.ToLower(name)
	}
	return repositoryKey(name)
}

// fullNameForm is a full name that stands for itself and is not a URL or path.
var fullNameForm = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$`)

// path returns where the repository behind an address is.
func (l localRepositories) path(address string) (string, bool) {
	key := localKey(address)
	if path, ok := l[key]; ok {
		return path, true
	}
	if _, name, found := strings.Cut(key, "/"); found {
		path, ok := l[name]
		return path, ok
	}
	return "", false
}

// remote is a repository that was asked for its refs, and nothing more yet.
type remote struct {
	session transport.UploadPackSession
	refs    map[string]plumbing.Hash
}

// openRemote asks the repository behind a task's URL for its refs. A URL that is neither
// listed in local nor an http(s) URL of the loopback is errUnreachable.
func openRemote(ctx context.Context, local localRepositories, raw string) (*remote, error) {
	session, err := openSession(local, raw)
	if err != nil {
		return nil, err
	}
	advertised, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		_ = session.Close()
		return nil, fmt.Errorf("fatal: %w", err)
	}
	return &remote{session: session, refs: advertised.References}, nil
}

func openSession(local localRepositories, raw string) (transport.UploadPackSession, error) {
	if path, ok := local.path(raw); ok {
		gitDir := filepath.Join(path, ".git")
		if _, err := os.Stat(gitDir); err != nil {
			gitDir = path
		}
		if _, err := os.Stat(filepath.Join(gitDir, "config")); err != nil {
			return nil, errUnreachable
		}
		return server.NewClient(localRepository{gitDir}).NewUploadPackSession(nil, nil)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !loopbackHost(u.Hostname()) {
		return nil, errUnreachable
	}
	endpoint, err := transport.NewEndpoint(raw)
	if err != nil {
		return nil, errUnreachable
	}
	return githttp.NewClientWithOptions(&http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil).NewUploadPackSession(endpoint, nil)
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// localRepository serves a repository on disk in this process, so that no git
// binary is needed.
type localRepository struct{ gitDir string }

// Load implements server.Loader.
func (l localRepository) Load(*transport.Endpoint) (storer.Storer, error) {
	return filesystem.NewStorage(osfs.New(l.gitDir), cache.NewObjectLRUDefault()), nil
}

func (r *remote) close() { _ = r.session.Close() }

// head returns the commit of a full ref name, or the complaint that git makes.
func (r *remote) head(ref string) (plumbing.Hash, error) {
	if hash, ok := r.refs[ref]; ok {
		return hash, nil
	}
	return plumbing.ZeroHash, fmt.Errorf("fatal: couldn't find remote ref %s", ref)
}

// clone fetches the commits and their history into memory.
func (r *remote) clone(ctx context.Context, commits ...plumbing.Hash) (storer.EncodedObjectStorer, error) {
	request := packp.NewUploadPackRequest()
	if err := request.Capabilities.Set(capability.OFSDelta); err != nil {
		return nil, fmt.Errorf("ask for a pack: %w", err)
	}
	request.Wants = commits
	response, err := r.session.UploadPack(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("ask for a pack: %w", err)
	}
	objects := memory.NewStorage()
	err = packfile.UpdateObjectStorage(objects, response)
	if closeErr := response.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("read the pack: %w", err)
	}
	return objects, nil
}

// changedPaths returns the files of head that differ from where its branch left
// target's: a merge request's own changes. Without a common ancestor all files
// that differ from target count.
func changedPaths(ctx context.Context, objects storer.EncodedObjectStorer, target, head plumbing.Hash) (map[string]bool, error) {
	from, err := object.GetCommit(objects, target)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", target, err)
	}
	to, err := object.GetCommit(objects, head)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", head, err)
	}
	bases, err := to.MergeBase(from)
	if err != nil {
		return nil, fmt.Errorf("find the merge base: %w", err)
	}
	if len(bases) > 0 {
		from = bases[0]
	}
	oldTree, err := from.Tree()
	if err != nil {
		return nil, fmt.Errorf("read tree of %s: %w", from.Hash, err)
	}
	newTree, err := to.Tree()
	if err != nil {
		return nil, fmt.Errorf("read tree of %s: %w", to.Hash, err)
	}
	changes, err := object.DiffTreeContext(ctx, oldTree, newTree)
	if err != nil {
		return nil, fmt.Errorf("compare %s with %s: %w", from.Hash, to.Hash, err)
	}
	paths := map[string]bool{}
	for _, change := range changes {
		if change.To.Name != "" {
			paths[change.To.Name] = true
		}
	}
	return paths, nil
}
