package standin

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// GitHost is a git host whose API is served from Options.Repositories.
type GitHost struct {
	// Kind decides where the API is: github under /api/v3, gitlab under /api/v4, gitee under
	// /api/v5, gitea under /api/v1. One of each kind.
	Kind string
	// URL is the host's address, as in Options.Repositories: a repository's is this, its full
	// name, and .git.
	URL string
	// Token is the API token that the host accepts.
	Token string
	// App is a GitHub App that may ask too; github only. Default none.
	App *HostApp
	// Users are its accounts. Default: mona (11), who may write; ada (12), who maintains; ravi (13), who
	// reads; tova (14), who has no role; and the account of the token.
	Users []HostUser
	// MergeRequests say more of the merge requests with these numbers, in every repository. Default: each
	// is of the first account, from a branch of the repository, and open.
	MergeRequests map[int]HostMergeRequest
}

// gitHosts answers for the hosts: where a branch, tag or merge request is now; and it takes what is
// reported to them.
type gitHosts struct {
	opts         Options
	hosts        map[string]GitHost
	repositories localRepositories
	reports      *hostReports
	hooks        *hostHooks
	tokens       *installationTokens
	spawn        background

	mu sync.Mutex
	// mergeRequests are those of GitHost, by the kind of the host.
	mergeRequests map[string]map[int]HostMergeRequest
}

func newGitHosts(opts Options, spawn background) *gitHosts {
	g := &gitHosts{
		opts: opts, hosts: map[string]GitHost{}, mergeRequests: map[string]map[int]HostMergeRequest{}, repositories: newLocalRepositories(opts.Repositories),
		reports: &hostReports{repositoryLabels: map[string][]string{}}, tokens: &installationTokens{made: map[string]time.Time{}},
		hooks: newHostHooks(opts.Now), spawn: spawn,
	}
	for _, h := range opts.GitHosts {
		if h.Users == nil {
			h.Users = sampleUsers()
		}
		g.hosts[h.Kind], g.mergeRequests[h.Kind] = h, maps.Clone(h.MergeRequests)
	}
	return g
}

func (g *gitHosts) routes() []route {
	const (
		github = "GET /api/v3/repos/{owner}/{name}"
		gitlab = "GET /api/v4/projects/{project}"
		gitee  = "GET /api/v5/repos/{owner}/{name}"
		gitea  = "GET /api/v1/repos/{owner}/{name}"
	)
	var routes []route
	for _, r := range []struct {
		pattern, operation string
		style              hostStyle
		answer             func(*call, hosted) answer
	}{
		{github + "/git/ref/{ref...}", "github_ref", githubStyle(), githubRef},
		{github + "/git/tags/{sha}", "github_tag", githubStyle(), githubTag},
		{github + "/pulls/{number}", "github_pull", githubStyle(), githubPull},
		{github + "/languages", "github_languages", githubStyle(), githubLanguages},
		{gitlab + "/languages", "gitlab_languages", gitlabStyle(), gitlabLanguages},
		{gitee + "/git/trees/{sha}", "gitee_tree", giteeStyle(), giteeTree},
		{gitlab + "/repository/branches/{branch}", "gitlab_branch", gitlabStyle(), gitlabBranch},
		{gitlab + "/repository/tags/{tag}", "gitlab_tag", gitlabStyle(), gitlabTag},
		{gitlab + "/merge_requests/{number}", "gitlab_merge_request", gitlabStyle(), gitlabMergeRequest},
		{gitee + "/branches/{branch}", "gitee_branch", giteeStyle(), giteeBranch},
		{gitee + "/tags", "gitee_tags", giteeStyle(), giteeTags},
		{gitee + "/pulls/{number}", "gitee_pull", giteeStyle(), giteePull},
		{gitea + "/branches/{branch...}", "gitea_branch", giteaStyle(), giteaBranch},
		{gitea + "/git/refs/{ref...}", "gitea_refs", giteaStyle(), giteaRefs},
		{gitea + "/git/tags/{sha}", "gitea_tag", giteaStyle(), giteaTag},
		{gitea + "/pulls/{number}", "gitea_pull", giteaStyle(), giteaPull},
		{gitea + "/languages", "gitea_languages", giteaStyle(), giteaLanguages},
		{github + "/pulls/{number}/files", "github_pull_files", githubStyle(), githubFiles},
		{github + "/compare/{range}", "github_compare", githubStyle(), githubCompare},
		{gitlab + "/merge_requests/{number}/diffs", "gitlab_diffs", gitlabStyle(), gitlabDiffs},
		{gitlab + "/repository/compare", "gitlab_compare", gitlabStyle(), gitlabCompare},
		{gitee + "/pulls/{number}/files", "gitee_pull_files", giteeStyle(), giteePullFiles},
		{gitee + "/compare/{range}", "gitee_compare", giteeStyle(), giteeCompare},
		{gitea + "/pulls/{number}/files", "gitea_pull_files", giteaStyle(), giteaPullFiles},
	} {
		routes = append(routes, g.route(r.pattern, r.operation, r.style, r.answer))
	}
	routes = slices.Concat(routes, g.commentRoutes(), g.githubWrites(), g.gitlabWrites(), g.giteeWrites(), g.giteaWrites(), g.memberRoutes())
	return slices.Concat(routes, g.listRoutes(), g.mergedRoutes(), g.githubHookRoutes(), g.gitlabHookRoutes(), g.giteeHookRoutes(), g.giteaHookRoutes())
}

// hostStyle is what differs between the hosts before a repository is found.
type hostStyle struct {
	kind string
	// header carries the token, after before.
	header, before string
	// unauthorized, notFound and forbidden are the messages of the host's refusals.
	unauthorized, notFound, forbidden string
	// apps: the host has Apps. secondaryLimit: it has a limit of writes beside that of requests.
	apps, secondaryLimit bool
}

func githubStyle() hostStyle {
	return hostStyle{"github", "Authorization", "Bearer ", "Bad credentials", "Not Found", "Resource not accessible by personal access token", true, true}
}

func gitlabStyle() hostStyle {
	return hostStyle{"gitlab", "PRIVATE-TOKEN", "", "401 Unauthorized", "404 Project Not Found", "403 Forbidden", false, false}
}

func giteeStyle() hostStyle {
	return hostStyle{"gitee", "Authorization", "Bearer ", "401 Unauthorized: Access token does not exist", "404 Project Not Found", "403 Forbidden", false, false}
}

// hostMessage is the shape of every host's refusal.
func hostMessage(status int, message string) answer {
	return answer{status: status, body: map[string]string{"message": message}, code: strconv.Itoa(status)}
}

// hosted is a repository on a host, as one request sees it.
type hosted struct {
	*git.Repository
	hostStyle
	host, name string
	// organization is the organisation or group that a call about hooks names, in place of a repository.
	organization string
	// noHook is what the host says of a hook that is not there.
	noHook  string
	reports *hostReports
	// byApp: the request has a token of the App, whose number is appID. readsOnly: its token may not
	// write.
	byApp     bool
	appID     int64
	readsOnly bool
	// missing and moved are faults: nothing is there, and every ref is at the parent of its
	// commit.
	missing, moved bool
	// manyFiles is the switch many_changed_files.
	manyFiles bool
	// now is the time of the request.
	now time.Time
	// users are those of the host, and about says more of a merge request.
	users []HostUser
	about func(number int) (HostMergeRequest, bool)
	// mergedNumbers are those of the merge requests that are merged, the newest first.
	mergedNumbers func() []int
}

// authorize checks the token.
func (g *gitHosts) authorize(c *call, style hostStyle) (r hosted, refusal answer, ok bool) {
	host, known := g.hosts[style.kind]
	if !known {
		return hosted{}, unknownRoute.handle(c), false
	}
	r = hosted{hostStyle: style, host: style.kind, reports: g.reports, readsOnly: g.opts.GitTokenReadsOnly, missing: c.missing, moved: c.moved, manyFiles: g.opts.ManyChangedFiles, users: host.Users, about: g.about(style.kind), mergedNumbers: g.mergedNumbers(style.kind), now: c.entry.Time}
	token, found := strings.CutPrefix(c.http.Header.Get(style.header), style.before)
	r.byApp = style.apps && host.App != nil && g.tokens.good(token, c.entry.Time)
	if !found || token != host.Token && !r.byApp {
		return hosted{}, hostMessage(http.StatusUnauthorized, style.unauthorized), false
	}
	if r.byApp {
		r.appID = host.App.ID
	}
	return r, answer{}, true
}

// serve checks the token and finds the repository.
func (g *gitHosts) serve(c *call, style hostStyle, answerTo func(*call, hosted) answer) answer {
	r, refusal, ok := g.authorize(c, style)
	if !ok {
		return refusal
	}
	r.name = c.http.PathValue("project")
	if r.name == "" {
		r.name = c.http.PathValue("owner") + "/" + c.http.PathValue("name")
	}
	c.entry.Repository = r.name
	path, known := g.repositories.path(strings.TrimRight(g.hosts[style.kind].URL, "/") + "/" + r.name)
	if !known {
		return hostMessage(http.StatusNotFound, style.notFound)
	}
	var err error
	if r.Repository, err = git.PlainOpen(path); err != nil {
		return hostMessage(http.StatusInternalServerError, "open repository")
	}
	r.manyFiles = g.opts.ManyChangedFiles
	return answerTo(c, r)
}

// ref returns what a full ref name points to: a commit, or an annotated tag. found is false
// when there is no such ref.
func (r hosted) ref(c *call, name string) (hash plumbing.Hash, found bool) {
	c.entry.Ref = name
	ref, err := r.Reference(plumbing.ReferenceName(name), true)
	if err != nil || r.missing {
		return plumbing.ZeroHash, false
	}
	if !r.moved {
		return ref.Hash(), true
	}
	commit, err := r.CommitObject(r.peel(ref.Hash()))
	if err != nil || len(commit.ParentHashes) == 0 {
		return plumbing.ZeroHash, false
	}
	return commit.ParentHashes[0], true
}

// peel follows annotated tags to their commit.
func (r hosted) peel(hash plumbing.Hash) plumbing.Hash {
	for {
		tag, err := r.TagObject(hash)
		if err != nil {
			return hash
		}
		hash = tag.Target
	}
}

// objectType is git's word for what a hash is.
func (r hosted) objectType(hash plumbing.Hash) string {
	if _, err := r.TagObject(hash); err == nil {
		return "tag"
	}
	return "commit"
}

// mergeRequest returns the number in the path and the head of that merge request; format is
// where the host keeps it.
func (r hosted) mergeRequest(c *call, format string) (number int, head plumbing.Hash, found bool) {
	number, err := strconv.Atoi(c.http.PathValue("number"))
	if err != nil {
		return 0, plumbing.ZeroHash, false
	}
	head, found = r.ref(c, fmt.Sprintf(format, number))
	return number, head, found
}

const githubNotFound = "Not Found"

func githubRef(c *call, r hosted) answer {
	name := "refs/" + c.http.PathValue("ref")
	hash, found := r.ref(c, name)
	if !found {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	return githubAnswer(map[string]any{
		"ref": name, "node_id": "REF_" + hash.String()[:12], "url": "https://api.github.com/repos/" + r.name + "/git/" + name,
		"object": map[string]any{"sha": hash.String(), "type": r.objectType(hash), "url": "https://api.github.com/repos/" + r.name + "/git/" + r.objectType(hash) + "s/" + hash.String()},
	})
}

func githubTag(c *call, r hosted) answer {
	tag, err := r.TagObject(plumbing.NewHash(c.http.PathValue("sha")))
	if err != nil || r.missing {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	return githubAnswer(map[string]any{
		"tag": tag.Name, "sha": tag.Hash.String(), "message": tag.Message,
		"tagger": signature(tag.Tagger),
		"object": map[string]any{"sha": tag.Target.String(), "type": r.objectType(tag.Target)},
	})
}

func githubPull(c *call, r hosted) answer {
	number, head, found := r.mergeRequest(c, "refs/pull/%d/head")
	if !found {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	p := r.proposal(number)
	return githubAnswer(map[string]any{
		"id": 2000 + number, "number": number, "state": p.state("open"), "locked": false, "draft": false, "merged": false, "mergeable": nil, "changed_files": r.changedCount(c),
		"merge_commit_sha": plumbing.ComputeHash(plumbing.CommitObject, []byte(head.String())).String(),
		"user":             p.account(),
		"head":             map[string]any{"ref": p.sourceBranch, "sha": head.String(), "repo": p.repository(repositoryID(r.host, r.name), r.name)},
		"base":             map[string]any{"ref": mainBranch, "repo": map[string]any{"id": repositoryID(r.host, r.name), "full_name": r.name}},
	})
}

// githubAnswer is an answer with the headers of GitHub's limit.
func githubAnswer(body any) answer {
	return ok(body).with("X-RateLimit-Limit", "5000").with("X-RateLimit-Remaining", "4987")
}

func gitlabBranch(c *call, r hosted) answer {
	name := c.http.PathValue("branch")
	hash, found := r.ref(c, "refs/heads/"+name)
	if !found {
		return hostMessage(http.StatusNotFound, "404 Branch Not Found")
	}
	return ok(map[string]any{"name": name, "merged": false, "protected": true, "default": name == mainBranch, "commit": r.gitlabCommit(hash)})
}

// gitlabTag: the target of an annotated tag is the tag itself.
func gitlabTag(c *call, r hosted) answer {
	name := c.http.PathValue("tag")
	hash, found := r.ref(c, "refs/tags/"+name)
	if !found {
		return hostMessage(http.StatusNotFound, "404 Tag Not Found")
	}
	return ok(map[string]any{"name": name, "target": hash.String(), "message": "", "release": nil, "protected": false, "commit": r.gitlabCommit(r.peel(hash))})
}

func (r hosted) gitlabCommit(hash plumbing.Hash) map[string]any {
	commit := map[string]any{"id": hash.String(), "short_id": hash.String()[:8]}
	if found, err := r.CommitObject(hash); err == nil {
		commit["title"], _, _ = strings.Cut(found.Message, "\n")
		commit["message"], commit["author_name"], commit["authored_date"] = found.Message, found.Author.Name, found.Author.When.UTC()
	}
	return commit
}

func gitlabMergeRequest(c *call, r hosted) answer {
	number, head, found := r.mergeRequest(c, "refs/merge-requests/%d/head")
	if !found {
		return hostMessage(http.StatusNotFound, "404 Not found")
	}
	p, id := r.proposal(number), repositoryID(r.host, r.name)
	body := map[string]any{
		"id": 4000 + number, "iid": number, "project_id": id, "source_project_id": p.source(id), "target_project_id": id, "state": p.state("opened"), "draft": false,
		"sha": head.String(), "changes_count": r.changesCount(c), "merge_commit_sha": nil, "squash_commit_sha": nil,
		"source_branch": p.sourceBranch, "target_branch": mainBranch, "author": p.account(),
	}
	if p.ForkDeleted {
		body["source_project_id"] = nil
	}
	return ok(body)
}

func giteeBranch(c *call, r hosted) answer {
	name := c.http.PathValue("branch")
	hash, found := r.ref(c, "refs/heads/"+name)
	if !found {
		return hostMessage(http.StatusNotFound, "404 Branch Not Found")
	}
	return ok(map[string]any{"name": name, "protected": false, "commit": map[string]any{"sha": hash.String(), "url": "https://gitee.com/api/v5/repos/" + r.name + "/commits/" + hash.String()}})
}

// giteeTags lists the tags in pages. It sorts by name, whatever it is asked: which tag is
// newest, a small repository does not show.
func giteeTags(c *call, r hosted) answer {
	page, pageOK := c.number("page", 1, 1, 1<<20)
	perPage, perPageOK := c.number("per_page", 20, 1, 100)
	if !pageOK || !perPageOK {
		return hostMessage(http.StatusBadRequest, "page or per_page is invalid")
	}
	refs, err := r.Tags()
	if err != nil {
		return hostMessage(http.StatusInternalServerError, "list tags")
	}
	tags := []map[string]any{}
	err = refs.ForEach(func(ref *plumbing.Reference) error {
		hash, found := r.ref(c, ref.Name().String())
		if !found {
			return nil
		}
		commit, err := r.CommitObject(r.peel(hash))
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return nil
		}
		tags = append(tags, map[string]any{
			"name": ref.Name().Short(), "message": "", "tagger": r.tagger(hash),
			"commit": map[string]any{"sha": commit.Hash.String(), "date": commit.Committer.When.UTC()},
		})
		return err
	})
	if err != nil {
		return hostMessage(http.StatusInternalServerError, "list tags")
	}
	slices.SortFunc(tags, func(a, b map[string]any) int { return strings.Compare(a["name"].(string), b["name"].(string)) })
	first := min((page-1)*perPage, len(tags))
	return ok(tags[first:min(first+perPage, len(tags))])
}

// tagger is who made an annotated tag; null for any other.
func (r hosted) tagger(hash plumbing.Hash) any {
	tag, err := r.TagObject(hash)
	if err != nil {
		return nil
	}
	return signature(tag.Tagger)
}

func signature(s object.Signature) map[string]any {
	return map[string]any{"name": s.Name, "email": s.Email, "date": s.When.UTC()}
}

func giteePull(c *call, r hosted) answer {
	number, head, found := r.mergeRequest(c, "refs/pull/%d/head")
	if !found {
		return hostMessage(http.StatusNotFound, "404 Pull Request Not Found")
	}
	p := r.proposal(number)
	return ok(map[string]any{
		"id": 7000 + number, "number": number, "state": p.state("open"), "mergeable": true, "labels": r.giteeLabels(number),
		"merge_commit_sha": plumbing.ComputeHash(plumbing.CommitObject, []byte(head.String())).String(),
		"user":             p.account(),
		"head":             map[string]any{"ref": p.sourceBranch, "sha": head.String(), "repo": p.repository(repositoryID(r.host, r.name), r.name)},
		"base":             map[string]any{"ref": mainBranch, "repo": map[string]any{"id": repositoryID(r.host, r.name), "full_name": r.name}},
	})
}

// files are the paths of a commit's files with their sizes; found is false when there is no
// such commit.
func (r hosted) files(hash plumbing.Hash) (sizes map[string]int64, found bool) {
	commit, err := r.CommitObject(hash)
	if err != nil || r.missing {
		return nil, false
	}
	list, err := commit.Files()
	if err != nil {
		return nil, false
	}
	sizes = map[string]int64{}
	err = list.ForEach(func(f *object.File) error {
		sizes[f.Name] = f.Size
		return nil
	})
	return sizes, err == nil
}

// languageSizes are the bytes of each language on main, by GitHub's names: of the few that the
// sample repositories have.
func (r hosted) languageSizes(c *call) map[string]int64 {
	hash, _ := r.ref(c, "refs/heads/"+mainBranch)
	sizes, _ := r.files(hash)
	names := map[string]string{".go": "Go", ".java": "Java", ".py": "Python", ".js": "JavaScript", ".ts": "TypeScript", ".sh": "Shell", ".yaml": "YAML", ".rs": "Rust", ".c": "C"}
	bytes := map[string]int64{}
	for path, size := range sizes {
		if name := names[filepath.Ext(path)]; name != "" {
			bytes[name] += size
		}
	}
	return bytes
}

func githubLanguages(c *call, r hosted) answer { return githubAnswer(r.languageSizes(c)) }

// gitlabLanguages are shares in percent.
func gitlabLanguages(c *call, r hosted) answer {
	all, shares := int64(0), map[string]float64{}
	bytes := r.languageSizes(c)
	for _, size := range bytes {
		all += size
	}
	for name, size := range bytes {
		shares[name] = math.Round(float64(size)/float64(max(all, 1))*10000) / 100
	}
	return ok(shares)
}

// giteeTree lists the files of a commit; folders only with them.
func giteeTree(c *call, r hosted) answer {
	sha := c.http.PathValue("sha")
	sizes, found := r.files(plumbing.NewHash(sha))
	if !found {
		return hostMessage(http.StatusNotFound, "404 Tree Not Found")
	}
	tree := []map[string]any{}
	for _, path := range slices.Sorted(maps.Keys(sizes)) {
		tree = append(tree, map[string]any{"path": path, "mode": "100644", "type": "blob", "size": sizes[path]})
	}
	return ok(map[string]any{"sha": sha, "tree": tree, "truncated": false})
}
