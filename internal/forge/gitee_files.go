package forge

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"strconv"
)

// maxGiteeFiles is the most files that Gitee lists of a pull request (specs/githosts.md 3.7).
// Whether its comparison has that limit is not documented: it is taken to.
const maxGiteeFiles = 300

// giteeFile is a changed file. In a pull request's list the patch is an object with the paths,
// in a comparison it is a text.
type giteeFile struct {
	Filename string          `json:"filename"`
	Previous string          `json:"previous_filename"`
	Patch    json.RawMessage `json:"patch"`
}

func (r *giteeClient) mergeRequestFiles(ctx context.Context, repository string, number int) (changes, error) {
	pull := "pulls/" + strconv.Itoa(number)
	request, err := r.mergeRequest(ctx, repository, number)
	if err != nil {
		return changes{}, err
	}
	var files []giteeFile
	if err := r.get(ctx, repository, pull+"/files", nil, &files); err != nil {
		return changes{}, err
	}
	list, err := giteeChanges(files)
	list.head = request.HeadSHA
	return list, err
}

// compare: the answer speaks of the commits after the newest common one, which is the first
// where the push was not forced.
func (r *giteeClient) compare(ctx context.Context, repository, before, after string) (changes, error) {
	var answer struct {
		MergeBase giteeCommit `json:"merge_base_commit"`
		Files     []giteeFile `json:"files"`
		Truncated bool        `json:"truncated"`
	}
	if err := r.get(ctx, repository, "compare/"+url.PathEscape(before)+"..."+url.PathEscape(after), nil, &answer); err != nil {
		return changes{}, err
	}
	list, err := giteeChanges(answer.Files)
	switch {
	case answer.MergeBase.SHA != before:
		list.unknown = forced
	case answer.Truncated:
		list.cutShort()
	}
	return list, err
}

func giteeChanges(files []giteeFile) (changes, error) {
	var list changes
	for _, file := range files {
		var patch struct {
			NewPath string `json:"new_path"`
			OldPath string `json:"old_path"`
		}
		_ = json.Unmarshal(file.Patch, &patch) // a text, or nothing
		if err := list.add(cmp.Or(patch.NewPath, file.Filename), cmp.Or(patch.OldPath, file.Previous)); err != nil {
			return changes{}, err
		}
	}
	if list.listed >= maxGiteeFiles {
		list.cutShort()
	}
	return list, nil
}
