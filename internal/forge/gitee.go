package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

const (
	// giteeTagsPerPage is the most that Gitee gives at once.
	giteeTagsPerPage = 100
	// maxGiteeTagPages bounds how far a tag is looked for. The newest come first, and a tag
	// is confirmed soon after it was announced.
	maxGiteeTagPages = 10
)

func giteeHost() host {
	return host{
		name: event.Gitee, filePage: "/blob/%s/", newClient: newGitee,
		hookKind: HookKind{Needed: []string{"push_events", "tag_push_events", "merge_requests_events", "note_events"}},
	}
}

// giteeClient asks Gitee's API v5, of gitee.com or of a private installation. There is
// no library for it (specs/githosts.md 0.2).
type giteeClient struct {
	base, token string
	http        *http.Client
	// checks is what is known of check runs here.
	checks checkRuns
}

func newGitee(c Connection, h *http.Client, _ func() time.Time) (client, error) {
	if c.App != nil {
		return nil, errNoApps
	}
	return &giteeClient{base: c.APIURL, token: c.Token, http: h}, nil
}

// giteeCommit is how Gitee points to a commit.
type giteeCommit struct {
	SHA string `json:"sha"`
}

func (r *giteeClient) branch(ctx context.Context, repository, name string) (string, error) {
	var answer struct {
		Name   string      `json:"name"`
		Commit giteeCommit `json:"commit"`
	}
	err := r.get(ctx, repository, "branches/"+url.PathEscape(name), nil, &answer)
	if err == nil && answer.Name != name {
		err = fmt.Errorf("it speaks of %.100q", answer.Name)
	}
	return answer.Commit.SHA, err
}

// tag looks through the list of tags: the API has no call for a single one.
func (r *giteeClient) tag(ctx context.Context, repository, name string) (string, error) {
	for page := 1; page <= maxGiteeTagPages; page++ {
		var tags []struct {
			Name   string      `json:"name"`
			Commit giteeCommit `json:"commit"`
		}
		query := url.Values{"sort": {"updated"}, "direction": {"desc"}, "per_page": {strconv.Itoa(giteeTagsPerPage)}, "page": {strconv.Itoa(page)}}
		if err := r.get(ctx, repository, "tags", query, &tags); err != nil {
			return "", err
		}
		for _, tag := range tags {
			if tag.Name == name {
				return tag.Commit.SHA, nil
			}
		}
		if len(tags) < giteeTagsPerPage {
			return "", &Error{message: "the host does not have it"}
		}
	}
	return "", &Error{message: fmt.Sprintf("it is not among the %d newest tags", giteeTagsPerPage*maxGiteeTagPages)}
}

// giteeSide is the source or the target of a pull request. A deleted fork's repository is null.
type giteeSide struct {
	Ref  string `json:"ref"`
	SHA  string `json:"sha"`
	Repo struct {
		ID looseID `json:"id"`
	} `json:"repo"`
}

func (r *giteeClient) mergeRequest(ctx context.Context, repository string, number int) (MergeRequest, error) {
	var answer struct {
		State string    `json:"state"`
		User  giteeUser `json:"user"`
		Head  giteeSide `json:"head"`
		Base  giteeSide `json:"base"`
	}
	err := r.get(ctx, repository, "pulls/"+strconv.Itoa(number), nil, &answer)
	return MergeRequest{
		HeadSHA: answer.Head.SHA, Author: answer.User.user(), Open: answer.State == "open",
		Fork:         fromFork(int64(answer.Head.Repo.ID), int64(answer.Base.Repo.ID)),
		SourceBranch: answer.Head.Ref, TargetBranch: answer.Base.Ref, RepositoryID: idText(int64(answer.Base.Repo.ID)),
	}, err
}

func (r *giteeClient) rightToReadMembers() string {
	return "a token with the scope projects, of an account that may read this repository's members"
}

// writes: whether the account stands in the answer or below user is not documented, so that both
// are read.
func (r *giteeClient) writes(ctx context.Context, repository string, u User) (bool, error) {
	var answer struct {
		giteeUser
		User       giteeUser `json:"user"`
		Permission string    `json:"permission"`
	}
	if err := r.get(ctx, repository, "collaborators/"+url.PathEscape(u.Login)+"/permission", nil, &answer); err != nil {
		return false, err
	}
	account := answer.giteeUser.user()
	if account.ID == "" {
		account = answer.User.user()
	}
	return mayWrite(answer.Permission, account, u)
}

// languages are those of the files of a commit: the API has no call for them
// (specs/githosts.md 3.7). A tree that is too large for one answer comes cut off, which is
// enough.
func (r *giteeClient) languages(ctx context.Context, repository, sha string) ([]string, error) {
	var answer struct {
		Tree []struct {
			Path string `json:"path"`
			Type string `json:"type"`
		} `json:"tree"`
	}
	if err := r.get(ctx, repository, "git/trees/"+url.PathEscape(sha), url.Values{"recursive": {"1"}}, &answer); err != nil {
		return nil, err
	}
	files := map[string]int{}
	for _, entry := range answer.Tree {
		if name := languageOf(entry.Path); entry.Type == "blob" && name != "" {
			files[name]++
		}
	}
	return byUse(files), nil
}

// languageOf is the language of a file by its name, in GitHub's words; empty when it has
// none that is known here.
func languageOf(file string) string {
	switch strings.ToLower(path.Ext(file)) {
	case ".go":
		return "Go"
	case ".java":
		return "Java"
	case ".py":
		return "Python"
	case ".c", ".h":
		return "C"
	case ".cc", ".cpp", ".cxx", ".hh", ".hpp":
		return "C++"
	case ".cs":
		return "C#"
	case ".js", ".jsx", ".mjs":
		return "JavaScript"
	case ".ts", ".tsx":
		return "TypeScript"
	case ".ets":
		return "ArkTS"
	case ".cj":
		return "Cangjie"
	case ".php":
		return "PHP"
	case ".kt", ".kts":
		return "Kotlin"
	case ".scala":
		return "Scala"
	case ".rs":
		return "Rust"
	case ".sh", ".bash":
		return "Shell"
	case ".lua":
		return "Lua"
	case ".f", ".f90", ".for":
		return "Fortran"
	case ".sql":
		return "SQL"
	case ".html", ".htm":
		return "HTML"
	case ".css":
		return "CSS"
	case ".json":
		return "JSON"
	}
	return ""
}

// get reads what a path below a repository answers into out.
func (r *giteeClient) get(ctx context.Context, repository, path string, query url.Values, out any) error {
	if query != nil {
		path += "?" + query.Encode()
	}
	return r.call(ctx, http.MethodGet, repository, path, nil, out)
}

// call sends a request below a repository, with a form, a JSON value or nothing, and reads what it
// answers into out, unless that is nil.
func (r *giteeClient) call(ctx context.Context, method, repository, path string, body, out any) error {
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
func (r *giteeClient) send(ctx context.Context, method, address string, body, out any) error {
	var content io.Reader = http.NoBody
	contentType := ""
	switch body := body.(type) {
	case nil:
	case url.Values:
		content, contentType = strings.NewReader(body.Encode()), "application/x-www-form-urlencoded"
	default:
		data, err := json.Marshal(body)
		if err != nil {
			return &Error{message: "not sent", cause: err}
		}
		content, contentType = bytes.NewReader(data), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return &Error{message: "not sent", cause: err}
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gatewright")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
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
