package standin

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// The most changed files that the hosts list: of a pull request and of a comparison at GitHub
// (specs/githosts.md 1.7), of either at Gitee (3.7). GitLab's limit is a setting of the
// installation, by default this (application_settings.diff_max_files).
const (
	githubPullFiles     = 3000
	githubComparedFiles = 300
	gitlabFiles         = 1000
	giteeFiles          = 300
	// moreFiles are added by the switch many_changed_files: more than any host lists.
	moreFiles = 5000
)

// changedFile is one file that differs between two commits.
type changedFile struct {
	path, old string // old differs where it was renamed
	status    string // added, removed, renamed or modified
}

// comparison is what differs between two commits.
type comparison struct {
	files []changedFile
	// base is the newest commit that both have.
	base plumbing.Hash
	// listed are those of the files that the host lists; cut says that there are others.
	listed []changedFile
	cut    bool
}

// compare compares two commits: from the newest one that both have, or straight. limit is the
// most files that the host lists. found is false when there is no such commit.
func (r hosted) compare(from, to plumbing.Hash, straight bool, limit int) (c comparison, found bool) {
	before, err := r.CommitObject(r.peel(from))
	if err != nil || r.missing {
		return comparison{}, false
	}
	after, err := r.CommitObject(r.peel(to))
	if err != nil {
		return comparison{}, false
	}
	bases, err := after.MergeBase(before)
	if err != nil || len(bases) == 0 && !straight {
		return comparison{}, false
	}
	if len(bases) > 0 {
		c.base = bases[0].Hash
	}
	start := before
	if !straight {
		start = bases[0]
	}
	if c.files, err = changedFiles(start, after); err != nil {
		return comparison{}, false
	}
	if r.manyFiles {
		for i := range moreFiles {
			path := fmt.Sprintf("more/%04d.txt", i)
			c.files = append(c.files, changedFile{path, path, "added"})
		}
	}
	c.listed, c.cut = c.files[:min(limit, len(c.files))], len(c.files) > limit
	return c, true
}

func changedFiles(from, to *object.Commit) ([]changedFile, error) {
	before, err := from.Tree()
	if err != nil {
		return nil, err
	}
	after, err := to.Tree()
	if err != nil {
		return nil, err
	}
	changes, err := object.DiffTreeWithOptions(context.Background(), before, after, object.DefaultDiffTreeOptions)
	if err != nil {
		return nil, err
	}
	files := make([]changedFile, 0, len(changes))
	for _, change := range changes {
		switch from, to := change.From.Name, change.To.Name; {
		case from == "":
			files = append(files, changedFile{to, to, "added"})
		case to == "":
			files = append(files, changedFile{from, from, "removed"})
		case from != to:
			files = append(files, changedFile{to, from, "renamed"})
		default:
			files = append(files, changedFile{to, to, "modified"})
		}
	}
	return files, nil
}

// mergeRequestFiles compares a merge request with its target.
func (r hosted) mergeRequestFiles(c *call, format string, limit int) (comparison, bool) {
	_, head, found := r.mergeRequest(c, format)
	if !found {
		return comparison{}, false
	}
	target, err := r.Reference(plumbing.NewBranchReferenceName(mainBranch), true)
	if err != nil {
		if target, err = r.Head(); err != nil {
			return comparison{}, false
		}
	}
	return r.compare(target.Hash(), head, false, limit)
}

// page returns a part of the listed files, and the number of the last page; ok is false for
// bad numbers.
func (l comparison) page(c *call, most int) (files []changedFile, page, last int, ok bool) {
	page, pageOK := c.number("page", 1, 1, 1<<20)
	perPage, perPageOK := c.number("per_page", min(30, most), 1, most)
	if !pageOK || !perPageOK {
		return nil, 0, 0, false
	}
	first := min((page-1)*perPage, len(l.listed))
	return l.listed[first:min(first+perPage, len(l.listed))], page, max((len(l.listed)+perPage-1)/perPage, 1), true
}

// commitRange splits base...head of a path.
func commitRange(c *call) (from, to plumbing.Hash) {
	base, head, _ := strings.Cut(c.http.PathValue("range"), "...")
	c.entry.Ref = head
	return plumbing.NewHash(base), plumbing.NewHash(head)
}

func githubFiles(c *call, r hosted) answer {
	list, found := r.mergeRequestFiles(c, "refs/pull/%d/head", githubPullFiles)
	if !found {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	files, page, last, valid := list.page(c, 100)
	if !valid {
		return hostMessage(http.StatusUnprocessableEntity, "Validation Failed")
	}
	a := githubAnswer(githubFileList(files))
	if page < last {
		next := *c.http.URL
		query := next.Query()
		query.Set("page", strconv.Itoa(page+1))
		next.RawQuery = query.Encode()
		a = a.with("Link", fmt.Sprintf("<http://%s%s>; rel=\"next\"", c.http.Host, next.RequestURI()))
	}
	return a
}

// githubCompare lists the files on the first page of the commits only.
func githubCompare(c *call, r hosted) answer {
	from, to := commitRange(c)
	list, found := r.compare(from, to, false, githubComparedFiles)
	if !found {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	status := "diverged"
	switch {
	case from == to:
		status = "identical"
	case list.base == from:
		status = "ahead"
	case list.base == to:
		status = "behind"
	}
	if c.query("page") != "" && c.query("page") != "1" {
		list.listed = nil
	}
	return githubAnswer(map[string]any{
		"status": status, "merge_base_commit": map[string]any{"sha": list.base.String()}, "base_commit": map[string]any{"sha": from.String()},
		"commits": []any{}, "files": githubFileList(list.listed),
	})
}

func githubFileList(files []changedFile) []map[string]any {
	list := []map[string]any{}
	for _, f := range files {
		file := map[string]any{"filename": f.path, "status": f.status, "additions": 1, "deletions": 0, "changes": 1}
		if f.old != f.path {
			file["previous_filename"] = f.old
		}
		list = append(list, file)
	}
	return list
}

func gitlabDiffs(c *call, r hosted) answer {
	list, found := r.mergeRequestFiles(c, "refs/merge-requests/%d/head", gitlabFiles)
	if !found {
		return hostMessage(http.StatusNotFound, "404 Not found")
	}
	files, page, last, valid := list.page(c, 100)
	if !valid {
		return hostMessage(http.StatusBadRequest, "page is invalid")
	}
	a := ok(gitlabDiffList(files)).with("X-Page", strconv.Itoa(page)).with("X-Total-Pages", strconv.Itoa(last)).with("X-Next-Page", "")
	if page < last {
		a = a.with("X-Next-Page", strconv.Itoa(page+1))
	}
	return a
}

func gitlabCompare(c *call, r hosted) answer {
	from, to := plumbing.NewHash(c.query("from")), plumbing.NewHash(c.query("to"))
	c.entry.Ref = to.String()
	list, found := r.compare(from, to, c.query("straight") == "true", gitlabFiles)
	if !found {
		return hostMessage(http.StatusNotFound, "404 Ref Not Found")
	}
	return ok(map[string]any{
		"commit": r.gitlabCommit(to), "commits": []any{r.gitlabCommit(to)}, "diffs": gitlabDiffList(list.listed),
		"compare_timeout": list.cut, "compare_same_ref": from == to,
	})
}

func gitlabDiffList(files []changedFile) []map[string]any {
	list := []map[string]any{}
	for _, f := range files {
		list = append(list, map[string]any{
			"old_path": f.old, "new_path": f.path, "a_mode": "100644", "b_mode": "100644", "diff": "",
			"new_file": f.status == "added", "renamed_file": f.status == "renamed", "deleted_file": f.status == "removed",
		})
	}
	return list
}

// giteePullFiles: the numbers of lines are texts, and the status may be null.
func giteePullFiles(c *call, r hosted) answer {
	list, found := r.mergeRequestFiles(c, "refs/pull/%d/head", giteeFiles)
	if !found {
		return hostMessage(http.StatusNotFound, "404 Pull Request Not Found")
	}
	files := []map[string]any{}
	for _, f := range list.listed {
		status := any(map[string]string{"added": "added", "removed": "deleted", "modified": "modified"}[f.status])
		if status == "" {
			status = nil
		}
		files = append(files, map[string]any{
			"filename": f.path, "status": status, "additions": "1", "deletions": "0",
			"patch": map[string]any{
				"diff": "", "new_path": f.path, "old_path": f.old, "too_large": false,
				"new_file": f.status == "added", "renamed_file": f.status == "renamed", "deleted_file": f.status == "removed",
			},
		})
	}
	return ok(files)
}

func giteeCompare(c *call, r hosted) answer {
	from, to := commitRange(c)
	list, found := r.compare(from, to, false, giteeFiles)
	if !found {
		return hostMessage(http.StatusNotFound, "404 Commit Not Found")
	}
	return ok(map[string]any{
		"base_commit": map[string]any{"sha": from.String()}, "merge_base_commit": map[string]any{"sha": list.base.String()},
		"commits": []any{}, "files": githubFileList(list.listed), "truncated": list.cut,
	})
}

// changesCount is what GitLab says of a merge request.
func (r hosted) changesCount(c *call) string {
	list, _ := r.mergeRequestFiles(c, "refs/merge-requests/%d/head", gitlabFiles)
	if list.cut {
		return strconv.Itoa(len(list.listed)) + "+"
	}
	return strconv.Itoa(len(list.files))
}

// changedCount is how many files GitHub says that a pull request changes.
func (r hosted) changedCount(c *call) int {
	list, _ := r.mergeRequestFiles(c, "refs/pull/%d/head", githubPullFiles)
	return len(list.files)
}
