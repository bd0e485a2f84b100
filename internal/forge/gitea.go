package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

func giteaHost() host {
	return host{
		name: event.Gitea, filePage: "/src/commit/%s/", newClient: newGitea,
		hookKind: HookKind{Needed: []string{"push", "pull_request", "pull_request_sync", "pull_request_comment"}, Organizations: true},
	}
}

// giteaClient asks the API v1 of Gitea or Forgejo. Gitea's library asks for the
// server's version first, and refuses by it: Forgejo counts its versions in another way.
type giteaClient struct {
	base, token string
	http        *http.Client
}

func newGitea(c Connection, h *http.Client, _ func() time.Time) (client, error) {
	if c.App != nil {
		return nil, errNoApps
	}
	return giteaClient{base: c.APIURL, token: c.Token, http: h}, nil
}

func (r giteaClient) branch(ctx context.Context, repository, name string) (string, error) {
	var answer struct {
		Name   string `json:"name"`
		Commit struct {
			ID string `json:"id"`
		} `json:"commit"`
	}
	err := r.get(ctx, repository, "branches/"+escapePath(name), &answer)
	if err == nil && answer.Name != name {
		err = fmt.Errorf("it speaks of %.100q", answer.Name)
	}
	return answer.Commit.ID, err
}

// giteaObject is what a ref or an annotated tag points to.
type giteaObject struct {
	Type string `json:"type"`
	SHA  string `json:"sha"`
}

// tag goes by git's own objects: the call for a tag by its name, which Gitea has since 1.15,
// does not follow a tag of a tag.
func (r giteaClient) tag(ctx context.Context, repository, name string) (string, error) {
	object, err := r.ref(ctx, repository, "refs/tags/"+name)
	for depth := 0; err == nil && object.Type == "tag"; depth++ {
		if depth == maxTagDepth {
			return "", fmt.Errorf("the tag leads through more than %d others", maxTagDepth)
		}
		var tag struct {
			Object giteaObject `json:"object"`
		}
		err = r.get(ctx, repository, "git/tags/"+url.PathEscape(object.SHA), &tag)
		object = tag.Object
	}
	return object.SHA, err
}

// giteaRef is a git ref of an answer.
type giteaRef struct {
	Ref    string      `json:"ref"`
	Object giteaObject `json:"object"`
}

// ref reads a git ref. The answer is that ref alone or, when the names of others begin with
// its name, a list of them all.
func (r giteaClient) ref(ctx context.Context, repository, name string) (giteaObject, error) {
	var answer json.RawMessage
	if err := r.get(ctx, repository, "git/"+escapePath(name), &answer); err != nil {
		return giteaObject{}, err
	}
	if !bytes.HasPrefix(answer, []byte("[")) {
		var one giteaRef
		err := json.Unmarshal(answer, &one)
		if err == nil && one.Ref != name {
			err = fmt.Errorf("it speaks of %.100q", one.Ref)
		}
		return one.Object, err
	}
	var all []giteaRef
	if err := json.Unmarshal(answer, &all); err != nil {
		return giteaObject{}, err
	}
	i := slices.IndexFunc(all, func(found giteaRef) bool { return found.Ref == name })
	if i < 0 {
		return giteaObject{}, &Error{message: "the host does not have it, only others whose names begin so"}
	}
	return all[i].Object, nil
}

// giteaSide is the source or the target of a pull request.
type giteaSide struct {
	Label  *string `json:"label"`
	Ref    string  `json:"ref"`
	SHA    string  `json:"sha"`
	RepoID int64   `json:"repo_id"`
}

// withoutBranch reports whether the source of a pull request is not a branch of any repository: it was pushed to
// refs/for/, which whoever may read can do, and the host then calls the repository itself its source, with an
// empty label (Gitea's services/convert/pull.go). It counts as one from a fork.
func withoutBranch(label *string, ref string) bool {
	return label != nil && *label == "" || strings.HasPrefix(ref, "refs/pull/") || strings.HasPrefix(ref, "refs/for/")
}

func (r giteaClient) mergeRequest(ctx context.Context, repository string, number int) (MergeRequest, error) {
	var answer struct {
		State string    `json:"state"`
		User  giteaUser `json:"user"`
		Head  giteaSide `json:"head"`
		Base  giteaSide `json:"base"`
	}
	err := r.get(ctx, repository, "pulls/"+strconv.Itoa(number), &answer)
	return MergeRequest{
		HeadSHA: answer.Head.SHA, Author: user(answer.User.ID, answer.User.Login), Open: answer.State == "open",
		Fork:         fromFork(answer.Head.RepoID, answer.Base.RepoID) || withoutBranch(answer.Head.Label, answer.Head.Ref),
		SourceBranch: answer.Head.Ref, TargetBranch: answer.Base.Ref, RepositoryID: idText(answer.Base.RepoID),
	}, err
}

func (r giteaClient) rightToReadMembers() string {
	return "a token with the scope read:repository, of an account that is an administrator of the repository: Gitea tells the rights of others to no one else"
}

// writes: the answer names the account, and owner for the repository's owner (Gitea's
// routers/api/v1/repo/collaborators.go).
func (r giteaClient) writes(ctx context.Context, repository string, u User) (bool, error) {
	var answer struct {
		Permission string    `json:"permission"`
		User       giteaUser `json:"user"`
	}
	if err := r.get(ctx, repository, "collaborators/"+url.PathEscape(u.Login)+"/permission", &answer); err != nil {
		return false, err
	}
	return mayWrite(answer.Permission, user(answer.User.ID, answer.User.Login), u)
}

// languages are counted in bytes.
func (r giteaClient) languages(ctx context.Context, repository, _ string) ([]string, error) {
	var bytes map[string]int64
	err := r.get(ctx, repository, "languages", &bytes)
	return byUse(bytes), err
}

// escapePath escapes a name but for its slashes: the API takes them as they are, and proxies
// before it often refuse escaped ones.
func escapePath(name string) string {
	return strings.ReplaceAll(url.PathEscape(name), "%2F", "/")
}

// get reads what a path below a repository answers into out.
func (r giteaClient) get(ctx context.Context, repository, path string, out any) error {
	return r.call(ctx, http.MethodGet, repository, path, nil, out)
}

// call sends a request about a path below a repository, or about the repository itself. A body is
// sent as JSON; the answer is read into out, or not at all when that is nil.
func (r giteaClient) call(ctx context.Context, method, repository, path string, body, out any) error {
	owner, repo, found := strings.Cut(repository, "/")
	if !found || strings.Contains(repo, "/") {
		return &Error{message: fmt.Sprintf("%.100q is not owner/name", repository)}
	}
	address := r.base + "/repos/" + url.PathEscape(owner) + "/" + url.PathEscape(repo)
	if path != "" {
		address += "/" + path
	}
	return r.send(ctx, method, address, body, out)
}

// send is call at a whole address.
func (r giteaClient) send(ctx context.Context, method, address string, body, out any) error {
	var content io.Reader = http.NoBody
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return &Error{message: "not sent", cause: err}
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return &Error{message: "not sent", cause: err}
	}
	req.Header.Set("Authorization", "token "+r.token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gatewright")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
